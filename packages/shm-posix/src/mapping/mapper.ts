import { closeSync } from 'node:fs'
import { IsthmusTypeError } from '@isthmus/sync'
import { openAgain } from '../native/open-again.js'
import { unsupported } from '../native/support.js'
import type { Mapper, MapperName, Mapping } from './mapping.js'
import { mapWithMmapIo } from './mmap-io.js'
import { mapOverlay } from './overlay.js'
import { doesOverlayWork } from './self-test.js'
import { mapView } from './view.js'

/**
 * Maps a file with this mapper, or with the best one that works here. A mapping keeps alive the open file description that
 * it was made through, with all locks of that description. The locks that prove that a thread lives must end with the
 * thread's descriptor, so the mapping is made through a description of its own.
 */
export function mapOwnDescription(fd: number, byteLength: number, name: MapperName | undefined): Mapping {
  const map = chooseMapper(name)
  const second = openAgain(fd)
  try {
    return map(second, byteLength)
  } finally {
    closeSync(second)
  }
}

/** Returns the mapper of this name, or the best one that works here. */
export function chooseMapper(name: MapperName | undefined): Mapper {
  switch (name) {
    case undefined:
      return doesOverlayWork() ? mapOverlay : mapView
    case 'overlay':
      if (doesOverlayWork()) return mapOverlay
      throw unsupported('the overlay mapper does not work on this runtime. Leave the mapper out to get one that does')
    case 'view':
      return mapView
    case 'mmap-io':
      return mapWithMmapIo
    default:
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Choosing a mapper: got ${String(name)}. Give 'overlay', 'view' or 'mmap-io', or leave it out.`,
      )
  }
}
