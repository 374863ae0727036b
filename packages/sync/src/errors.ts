/**
 * The codes of isthmus's own errors: what to test, since they stand on errors of several classes. Errors of the operating
 * system carry its names instead (`EEXIST`, `ENOENT`, `EACCES`, `ENOSPC` …), together with `syscall`.
 */
export type IsthmusErrorCode =
  /** An argument of the wrong type or outside its range. */
  | 'ERR_ISTHMUS_INVALID_ARGUMENT'
  /** A segment name that is not `/` followed by a plain file name. */
  | 'ERR_ISTHMUS_INVALID_NAME'
  /** The region or the handle was closed before this call. */
  | 'ERR_ISTHMUS_CLOSED'
  /** A call that this state of the handle does not allow: a commit without a claim, a call from within a callback. */
  | 'ERR_ISTHMUS_CALL_ORDER'
  /** A message longer than this call, or this ring, can carry. */
  | 'ERR_ISTHMUS_MESSAGE_TOO_LARGE'
  /** A large message of which the rest will never come. */
  | 'ERR_ISTHMUS_MESSAGE_INCOMPLETE'
  /** Another live agent has the role that was asked for. */
  | 'ERR_ISTHMUS_ROLE_TAKEN'
  /** The counterpart is proven dead and nobody has taken its place. */
  | 'ERR_ISTHMUS_PEER_DIED'
  /** Every one of the region's peer slots is held by a live agent. */
  | 'ERR_ISTHMUS_TOO_MANY_PEERS'
  /** The memory holds something that no correct peer writes. */
  | 'ERR_ISTHMUS_CORRUPT'
  /** The memory was not made by isthmus. It was left untouched. */
  | 'ERR_ISTHMUS_FOREIGN'
  /** The segment belongs to a user that this program does not trust: neither its own nor root. */
  | 'ERR_ISTHMUS_FOREIGN_OWNER'
  /** The memory was made by another version of the format. */
  | 'ERR_ISTHMUS_VERSION'
  /** The file is shorter, or longer, than its header says. */
  | 'ERR_ISTHMUS_SIZE'
  /** The memory holds another layout than the one it was opened with. */
  | 'ERR_ISTHMUS_LAYOUT_MISMATCH'
  /** Somebody held the segment's header lock until the deadline. */
  | 'ERR_ISTHMUS_BUSY'
  /** A file-backed segment was changed after its last flush, and the machine went down. */
  | 'ERR_ISTHMUS_UNCLEAN'
  /** This platform, runtime, file system or option is not supported. */
  | 'ERR_ISTHMUS_UNSUPPORTED'
  /** Closing failed in several places; `errors` has what each of them threw. The region is closed. */
  | 'ERR_ISTHMUS_CLOSE_FAILED'
  /** Unlocking, releasing or waiting with something that this handle does not hold. */
  | 'ERR_ISTHMUS_NOT_HELD'
  /** A mutex that one of its owners gave up for good. */
  | 'ERR_ISTHMUS_ABANDONED'
  /** A blocking wait that only the waiting thread itself could end. The name that pthreads use; no system call failed. */
  | 'EDEADLK'

/** What was attempted, what was found, what to do; `code` is stable, the text is not. */
export class IsthmusError extends Error {
  override readonly name: string = 'IsthmusError'
  readonly code: IsthmusErrorCode

  constructor(code: IsthmusErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The agent that a call depends on is proven dead. The handle that throws stays usable, for a successor. */
export class PeerDiedError extends IsthmusError {
  override readonly name: string = 'PeerDiedError'
  /** The process of the dead agent; undefined if it is no longer known. */
  readonly pid: number | undefined
  /** The thread of the dead agent, as worker_threads counts: 0 is the main thread; undefined if it is no longer known. */
  readonly threadId: number | undefined

  constructor(message: string, dead?: { readonly pid: number; readonly threadId: number }) {
    super('ERR_ISTHMUS_PEER_DIED', message)
    this.pid = dead?.pid
    this.threadId = dead?.threadId
  }
}

/** A value outside the range that the call accepts. */
export class IsthmusRangeError extends RangeError {
  override readonly name: string = 'IsthmusRangeError'
  readonly code: IsthmusErrorCode

  constructor(code: IsthmusErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** A value of a type that the call does not accept. */
export class IsthmusTypeError extends TypeError {
  override readonly name: string = 'IsthmusTypeError'
  readonly code: IsthmusErrorCode

  constructor(code: IsthmusErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** What several parts of a region threw when it was closed. It is closed all the same. */
export class CloseError extends AggregateError {
  override readonly name: string = 'CloseError'
  readonly code: IsthmusErrorCode = 'ERR_ISTHMUS_CLOSE_FAILED'

  constructor(errors: readonly unknown[]) {
    super(errors, 'Closing a region failed in several places; it is closed now. See the errors.')
  }
}

/** @throws AbortError where the signal has aborted. */
export function throwIfAborted(signal: Abortable | undefined): void {
  if (signal?.aborted) throw abortErrorOf(signal)
}

/** What a wait rejects with that this signal has ended. */
export function abortErrorOf(signal: Abortable | undefined): AbortError {
  try {
    return new AbortError(signal?.reason)
  } catch (error) {
    // A getter of the program. The wait has ended all the same.
    return new AbortError(error)
  }
}

interface Abortable {
  readonly aborted: boolean
  readonly reason?: unknown
}

/** A wait that was ended by its AbortSignal, in the shape of Node.js's own; `cause` is the signal's reason. */
export class AbortError extends Error {
  override readonly name: string = 'AbortError'
  readonly code: string = 'ABORT_ERR'

  constructor(reason: unknown) {
    super('The wait was aborted', { cause: reason })
  }
}

/** What a message calls a value that was given. It runs no code of the program: no getter, no toString, no proxy's trap. */
export function inWords(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length <= 60 ? value : `${value.slice(0, 60)}…`)
    case 'bigint':
      return `${value}n`
    case 'function':
      return 'a function'
    case 'object':
      return value === null ? 'null' : 'an object'
    default:
      return String(value)
  }
}
