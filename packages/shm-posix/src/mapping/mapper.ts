import { unsupported } from '../native/support.js'
import type { Mapper, MapperName } from './mapping.js'
import { mapWithMmapIo } from './mmap-io.js'
import { mapOverlay } from './overlay.js'
import { doesOverlayWork } from './self-test.js'
import { mapView } from './view.js'

/** The mapper that was asked for, or the best one that works here. */
export function chooseMapper(name: MapperName | undefined): Mapper {
  switch (name) {
    case undefined:
      return doesOverlayWork() ? mapOverlay : mapView
    case 'overlay':
      if (doesOverlayWork()) return mapOverlay
      throw unsupported(
        'the overlay mapper does not work on this runtime. Leave the mapper out to get the one that does',
      )
    case 'view':
      return mapView
    case 'mmap-io':
      return mapWithMmapIo
    default:
      throw unsupported(`there is no mapper called ${String(name)}; there are overlay, view and mmap-io`)
  }
}
