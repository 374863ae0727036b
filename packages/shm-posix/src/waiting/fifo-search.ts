import { readdirSync, readlinkSync } from 'node:fs'
import { isSystemError } from '../native/system-error.js'
import type { FifoKind } from './fifo-place.js'

/**
 * Ways to a FIFO without its name: through the descriptors that its process has of it. They lead to it also if the name
 * was deleted, or stands in a file system that this process does not see. It takes the same PID namespace, and the rights
 * of the same user. The name of the FIFO, a random number, says that it is the right one, whatever stands in the slot.
 */
export function* descriptorsOf(pid: number, thread: string, kind: FifoKind): Generator<string> {
  const folder = `/proc/${pid}/fd`
  for (const descriptor of entriesOf(folder)) {
    const path = `${folder}/${descriptor}`
    if (isNamed(path, `${thread}.${kind}`)) yield path
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (isSystemError(error)) return []
    throw error
  }
}

function isNamed(path: string, fileName: string): boolean {
  try {
    const link = readlinkSync(path)
    const [name = ''] = link.slice(link.lastIndexOf('/') + 1).split(' ', 1)
    return name === fileName || name.replace(/^\.?isthmus-/, '') === fileName
  } catch (error) {
    // Closed meanwhile.
    if (isSystemError(error)) return false
    throw error
  }
}
