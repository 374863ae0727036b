import { inspect } from 'node:util'
import { IsthmusTypeError } from '@isthmus/sync'
import type { MapperName } from '../mapping/mapping.js'
import { HeaderLockDeadline } from './header-lock.js'
import { segmentMode } from './mode.js'
import { assertTrustedOwner, type TrustedOwner } from './owner.js'

export interface UnlinkOptions {
  /**
   * How long one other thread may keep this call from the segment while it attaches, closes, flushes or removes it, in
   * milliseconds; 2000 if not given. The time starts anew when another thread has its turn, or when the same one makes
   * progress. It is not called `timeoutMs`, which bounds a whole call and has no default.
   */
  readonly lockTimeoutMs?: number
}

export interface AttachOptions extends UnlinkOptions {
  /** How the memory is mapped; the best way that works here if not given. Peers may use different ones. */
  readonly mapper?: MapperName
}

export interface CreateOptions extends AttachOptions {
  /**
   * Which users may attach, as for any file, but whatever the umask; 0o600, this user alone, if not given. A peer reads and
   * writes. A user with only one of the two rights could not attach, but lock out all peers, so half a right is taken away:
   * 0o644 becomes 0o600.
   */
  readonly mode?: number
}

export interface OpenOptions extends AttachOptions {
  /**
   * Opens a file although it was changed after its last flush when the machine went down, and keeps what each structure
   * finds consistent.
   */
  readonly recover?: boolean
  /**
   * Whose segments may be opened besides this user's own and root's: the number of a user, several of them in an array, or
   * `'anyone'`. The owner of a segment, and every user who may attach to it, can also end its peers (by truncating the file).
   */
  readonly owner?: TrustedOwner
}

export interface PruneOptions {
  /** Only names that begin with this are removed; `/` if not given. */
  readonly prefix?: string
  /** Also removes segments without live peers that contain undelivered messages. */
  readonly force?: boolean
}

const MAPPERS: Record<MapperName, true> = { overlay: true, view: true, 'mmap-io': true }

/** The options of a call, read once and checked before anything is done. */
export interface CheckedOptions {
  readonly mapper: MapperName | undefined
  readonly mode: number
  readonly recover: boolean
  readonly owner: TrustedOwner | undefined
  readonly lockTimeoutMs: number | undefined
  /** One for the whole call, with all its steps and retries. */
  readonly deadline: HeaderLockDeadline
}

/** @throws IsthmusTypeError, IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
export function checkOptions(given: CreateOptions & OpenOptions, attempt: string): CheckedOptions {
  assertOptions(given, attempt)
  const { mapper, mode, recover = false, owner, lockTimeoutMs } = given
  const isMapper = mapper === undefined || (typeof mapper === 'string' && Object.hasOwn(MAPPERS, mapper))
  if (!isMapper) throw optionError(attempt, 'mapper', mapper, `'overlay', 'view' or 'mmap-io', or leave it out`)
  assertBoolean(recover, 'recover', attempt)
  assertTrustedOwner(owner)
  return {
    mapper,
    mode: segmentMode(mode),
    recover,
    owner,
    lockTimeoutMs,
    deadline: new HeaderLockDeadline(lockTimeoutMs),
  }
}

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
export function checkPruneOptions(given: PruneOptions): Required<PruneOptions> {
  const attempt = 'Pruning segments'
  assertOptions(given, attempt)
  const { prefix = '/', force = false } = given
  if (typeof prefix !== 'string')
    throw optionError(attempt, 'prefix', prefix, `the beginning of names, such as '/orders'`)
  assertBoolean(force, 'force', attempt)
  return { prefix, force }
}

export function assertOptions(given: unknown, attempt: string): void {
  if (typeof given === 'object' && given !== null) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: got ${inspect(given)} for the options. Give an object, or leave it out.`,
  )
}

function assertBoolean(value: unknown, name: string, attempt: string): void {
  if (typeof value !== 'boolean') throw optionError(attempt, name, value, 'true or false')
}

function optionError(attempt: string, name: string, value: unknown, wanted: string): IsthmusTypeError {
  return new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: ${name} is ${inspect(value)}. Give ${wanted}.`,
  )
}
