import { constants, openSync } from 'node:fs'
import { explained, MORE_DESCRIPTORS } from './explanation.js'
import { unsupported } from './support.js'
import { hasCode } from './system-error.js'

const ATTEMPT = 'opening the file of a segment a second time'

/** Opens the file of a descriptor a second time, for a description with locks of its own. */
export function openAgain(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDWR)
  } catch (error) {
    // The descriptor is open, so this must not look like a segment that does not exist.
    if (hasCode(error, 'ENOENT')) throw unsupported('there is no /proc here. Mount it', error)
    if (hasCode(error, 'EMFILE', 'ENFILE')) throw explained(error, `${ATTEMPT}: ${MORE_DESCRIPTORS}`)
    throw explained(
      error,
      `${ATTEMPT}: not permitted. Either its mode or the user of this process has changed since it was opened. Allow this user to read and write it.`,
    )
  }
}
