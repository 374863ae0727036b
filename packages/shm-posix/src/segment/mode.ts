import { inspect } from 'node:util'
import { IsthmusRangeError } from '@isthmus/sync'

const MODE_DEFAULT = 0o600
const MODE_MAX = 0o777
const OWNER_READS_AND_WRITES = 0o600
/** The bits of one class of users: read, write, execute. Shifted by 0, 3 and 6 bits they are those of others, group and owner. */
const CLASS_BITS = 0o7
const READ_AND_WRITE = 0o6
const CLASS_SHIFTS = [0, 3]

/**
 * Checks the mode for a new segment. A user who may only read it, or only write it, could not attach, but could take the
 * locks on which all peers depend, since the kernel asks for only one of the two rights. So half a right is taken away.
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function segmentMode(mode: unknown = MODE_DEFAULT): number {
  const isMode = typeof mode === 'number' && Number.isInteger(mode) && mode >= 0 && mode <= MODE_MAX
  if (!isMode || (mode & OWNER_READS_AND_WRITES) !== OWNER_READS_AND_WRITES) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Creating a segment: mode is ${shown(mode)}. Give a number from 0o600 to 0o777 with which its owner may read and write, such as 0o600 or 0o660.`,
    )
  }
  return CLASS_SHIFTS.reduce((kept, shift) => {
    const isWhole = ((mode >> shift) & READ_AND_WRITE) === READ_AND_WRITE
    return isWhole ? kept : kept & ~(CLASS_BITS << shift)
  }, mode)
}

function shown(mode: unknown): string {
  return typeof mode === 'number' && Number.isInteger(mode) && mode >= 0 ? `0o${mode.toString(8)}` : inspect(mode)
}
