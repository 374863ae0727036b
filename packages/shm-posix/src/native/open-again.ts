import { constants, openSync } from 'node:fs'
import { explained, MORE_DESCRIPTORS } from './explanation.js'
import { unsupported } from './support.js'
import { hasCode } from './system-error.js'

const ATTEMPT = 'opening the file of a segment once more'

/** Opens the file of a descriptor once more, for a description with locks of its own. */
export function openAgain(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDWR)
  } catch (error) {
    // Of a descriptor that is open: not to be taken for a segment that does not exist.
    if (hasCode(error, 'ENOENT')) throw unsupported('there is no /proc here. Mount it', error)
    if (hasCode(error, 'EMFILE', 'ENFILE')) throw explained(error, `${ATTEMPT}: ${MORE_DESCRIPTORS}`)
    throw explained(
      error,
      `${ATTEMPT}: not permitted. Its mode has changed since it was opened, or the user of this process has: allow that user to read and write it.`,
    )
  }
}
