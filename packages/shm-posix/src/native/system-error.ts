import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'

export const { EACCES, EAGAIN, EEXIST, EFBIG, EINTR, EINVAL, ELOOP, ENOENT, ENOSPC, ENXIO, EPERM, ETIMEDOUT } =
  constants.errno

/** A failed system call, in the shape of Node.js's own: `code`, `errno`, `syscall`, `path`. */
export class SystemCallError extends Error {
  override readonly name: string = 'SystemCallError'
  /** The name of the error: `EEXIST`, `ENOENT`, `EACCES`, `ENOSPC` … */
  readonly code: string
  readonly errno: number
  readonly syscall: string
  readonly path: string | undefined

  /** @param message what was attempted, what was found, and what to do; the code is put before it */
  constructor(failure: { errno: number; syscall: string; path?: string }, message: string, options?: ErrorOptions) {
    const code = getSystemErrorName(-failure.errno)
    super(`${code}: ${message}`, options)
    this.code = code
    this.errno = -failure.errno
    this.syscall = failure.syscall
    this.path = failure.path
  }
}

/**
 * Whether this is an error with one of these codes, from any realm: in a vm context, in which test runners run programs,
 * Node.js's errors are not instances of that context's Error.
 */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' && codes.includes(code)
}

/** @internal Whether an error came from the operating system, and not from a fault in this program. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  const { errno, syscall } = (error ?? {}) as NodeJS.ErrnoException
  return typeof errno === 'number' && typeof syscall === 'string'
}
