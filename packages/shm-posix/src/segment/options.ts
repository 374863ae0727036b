import { inspect } from 'node:util'
import { IsthmusTypeError } from '@isthmus/sync'
import type { MapperName } from '../mapping/mapping.js'
import { HeaderLockDeadline } from './header-lock.js'
import { segmentMode } from './mode.js'
import { assertTrustedOwner, type TrustedOwner } from './owner.js'

export interface UnlinkOptions {
  /**
   * How long to wait for one process or thread that is just attaching, removing or flushing, in milliseconds; 2000 if not
   * given. For the next one, the time begins anew.
   */
  readonly lockTimeoutMs?: number
}

export interface AttachOptions extends UnlinkOptions {
  /** How the memory is mapped; the best way that works here if not given. Peers need not agree. */
  readonly mapper?: MapperName
}

export interface CreateOptions extends AttachOptions {
  /**
   * Who may attach, as for any file, whatever the umask; 0o600, this user alone, if not given. Attaching needs reading and
   * writing. Who had only one of the two could not attach, but lock everybody out: so half of a right is taken away, and
   * 0o644 becomes 0o600.
   */
  readonly mode?: number
}

export interface OpenOptions extends AttachOptions {
  /**
   * For a file that was changed after its last flush when the machine went down: open it all the same, and keep what each
   * structure finds consistent.
   */
  readonly recover?: boolean
  /**
   * Whose segments may be opened besides this user's own and root's: the number of a user, several of them in an array, or
   * `'anyone'`. The owner of a segment, and whoever else may attach to it, can also end its peers (by truncating the file).
   */
  readonly owner?: TrustedOwner
}

export interface PruneOptions {
  /** Only names that begin like this; `/` if not given. */
  readonly prefix?: string
  /** Remove segments of dead peers even where messages wait in them to be delivered. */
  readonly force?: boolean
}

const MAPPERS: Record<MapperName, true> = { overlay: true, view: true, 'mmap-io': true }

/** What the options of a call say, read once and checked before anything is done. */
export interface CheckedOptions {
  readonly mapper: MapperName | undefined
  readonly mode: number
  readonly recover: boolean
  readonly owner: TrustedOwner | undefined
  readonly lockTimeoutMs: number | undefined
  /** Of the whole call, with all its steps. */
  readonly patience: HeaderLockDeadline
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
    patience: new HeaderLockDeadline(lockTimeoutMs),
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
