import { inspect } from 'node:util'
import { IsthmusError, IsthmusTypeError } from '@isthmus/sync'
import { statDescriptor } from '../native/descriptor-stat.js'

/** Whose segments may be attached to besides this user's own and root's: anyone's, one user's, or those of several users. */
export type TrustedOwner = 'anyone' | number | readonly number[]

const SUPERUSER = 0
/** 2 ** 32 - 1 means "no user" to the kernel. */
const UID_MAX = 2 ** 32 - 2

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
export function assertTrustedOwner(owner: unknown): asserts owner is TrustedOwner | undefined {
  if (owner === undefined || owner === 'anyone') return
  const isUid = (value: unknown) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= UID_MAX
  if (Array.isArray(owner) ? owner.every(isUid) : isUid(owner)) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Opening a segment: owner is ${inspect(owner)}. Give the number of a user, several in an array, or 'anyone'.`,
  )
}

/**
 * Checks the owner of the open file before anything of it is mapped. In a directory in which all users may make files,
 * another user may have made the segment that this program is about to make. Its owner can read and write all of it, and
 * end its peers.
 * @throws IsthmusError `ERR_ISTHMUS_FOREIGN_OWNER`
 */
export function assertOwnerIsTrusted(fd: number, subject: string, trusted: TrustedOwner | undefined): void {
  const owner = Number(statDescriptor(fd).uid)
  if (isTrusted(owner, trusted)) return
  throw new IsthmusError(
    'ERR_ISTHMUS_FOREIGN_OWNER',
    `Opening ${subject}: it belongs to user ${owner}, and this program runs as user ${ownUid()}. Its owner can read and change all that is in it, and end the processes that have it open. If that is the user you expect, say so with { owner: ${owner} }; otherwise use another name.`,
  )
}

export function isTrusted(owner: number, trusted: TrustedOwner | undefined): boolean {
  if (owner === ownUid() || owner === SUPERUSER || trusted === 'anyone') return true
  return typeof trusted === 'number' ? trusted === owner : trusted?.includes(owner) === true
}

function ownUid(): number | undefined {
  return process.geteuid?.()
}
