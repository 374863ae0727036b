/**
 * The codes of isthmus's own errors. Test these, and not the classes: errors of several classes share a code. Errors of
 * the operating system carry its names instead (`EEXIST`, `ENOENT`, `EACCES`, `ENOSPC` …), together with `syscall`.
 */
export type IsthmusErrorCode =
  /** An argument of the wrong type or outside its range. */
  | 'ERR_ISTHMUS_INVALID_ARGUMENT'
  /** A segment name that is not `/` followed by a plain file name. */
  | 'ERR_ISTHMUS_INVALID_NAME'
  /** The region or the handle was closed before this call. */
  | 'ERR_ISTHMUS_CLOSED'
  /** The handle is in a state that does not allow this call: a commit without a claim, a call from within a callback. */
  | 'ERR_ISTHMUS_CALL_ORDER'
  /** The message is longer than this call, or this ring, can carry. */
  | 'ERR_ISTHMUS_MESSAGE_TOO_LARGE'
  /** The rest of a large message will never come. */
  | 'ERR_ISTHMUS_MESSAGE_INCOMPLETE'
  /** The publisher has overwritten messages that this subscriber had not read. */
  | 'ERR_ISTHMUS_OVERRUN'
  /** Live subscribers have all gates of the broadcast ring. */
  | 'ERR_ISTHMUS_NO_GATE'
  /** Another live agent has the requested role. */
  | 'ERR_ISTHMUS_ROLE_TAKEN'
  /** The agent on the other side is proven dead, and it has no successor yet. */
  | 'ERR_ISTHMUS_PEER_DIED'
  /** Live agents hold all of the region's peer slots. */
  | 'ERR_ISTHMUS_TOO_MANY_PEERS'
  /** The memory contains a value that no correct peer writes. */
  | 'ERR_ISTHMUS_CORRUPT'
  /** Another program made this memory. It was left untouched. */
  | 'ERR_ISTHMUS_FOREIGN'
  /** The segment belongs to a user that this program does not trust: neither its own nor root. */
  | 'ERR_ISTHMUS_FOREIGN_OWNER'
  /** The memory has another version of the format. */
  | 'ERR_ISTHMUS_VERSION'
  /** The file is shorter, or longer, than its header says. */
  | 'ERR_ISTHMUS_SIZE'
  /** The memory has another layout than the one it was opened with. */
  | 'ERR_ISTHMUS_LAYOUT_MISMATCH'
  /** Another process held the segment's header lock until the deadline; or a writer overtook a reader again and again. */
  | 'ERR_ISTHMUS_BUSY'
  /** A segment file was changed after its last flush, and then the machine went down. */
  | 'ERR_ISTHMUS_UNCLEAN'
  /** isthmus does not support this platform, runtime, file system or option. */
  | 'ERR_ISTHMUS_UNSUPPORTED'
  /** Closing failed in several places; `errors` has the error of each. The region is closed. */
  | 'ERR_ISTHMUS_CLOSE_FAILED'
  /** The call needs something that this handle does not hold: a lock, a permit, a membership. */
  | 'ERR_ISTHMUS_NOT_HELD'
  /** One of the owners of this mutex has given it up for good. */
  | 'ERR_ISTHMUS_ABANDONED'
  /** Only the waiting thread itself could end this blocking wait. The name is that of pthreads; no system call failed. */
  | 'EDEADLK'

/** The message says what was attempted, what was found and what to do. `code` is stable, the text is not. */
export class IsthmusError extends Error {
  override readonly name: string = 'IsthmusError'
  readonly code: IsthmusErrorCode

  constructor(code: IsthmusErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The agent on which a call depends is proven dead. The handle that throws stays usable, with a successor of that agent. */
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

/** Several parts of a region failed when it was closed. It is closed all the same. */
export class CloseError extends AggregateError {
  override readonly name: string = 'CloseError'
  readonly code: IsthmusErrorCode = 'ERR_ISTHMUS_CLOSE_FAILED'

  constructor(errors: readonly unknown[]) {
    super(errors, 'Closing a region failed in several places; it is closed now. See the errors.')
  }
}

/** The error of a call on a region or a handle that is closed. `attempt` begins the message. */
export function closedError(attempt: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_CLOSED',
    `${attempt}: the region or the handle was closed. Open it again, or close it later.`,
  )
}

/** @throws AbortError if the signal has aborted */
export function throwIfAborted(signal: Abortable | undefined): void {
  if (signal?.aborted) throw abortErrorOf(signal)
}

/** The error of a wait that this signal has ended. */
export function abortErrorOf(signal: Abortable | undefined): AbortError {
  try {
    return new AbortError(signal?.reason)
  } catch (error) {
    // `reason` may be a getter of the program. The wait has ended all the same.
    return new AbortError(error)
  }
}

interface Abortable {
  readonly aborted: boolean
  readonly reason?: unknown
}

/** A signal ended the wait. The error has the shape of Node.js's own AbortError; `cause` is the signal's reason. */
export class AbortError extends Error {
  override readonly name: string = 'AbortError'
  readonly code: string = 'ABORT_ERR'

  constructor(reason: unknown) {
    super('The wait was aborted', { cause: reason })
  }
}

/** A text for a given value, for error messages. It runs no code of the program: no getter, no toString, no proxy's trap. */
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
