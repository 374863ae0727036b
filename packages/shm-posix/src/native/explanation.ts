import { isSystemError, SystemCallError } from './system-error.js'

/** Gives an error of the operating system a message that says what to do. Any other error stays as it is. */
export function explained(error: unknown, message: string): unknown {
  if (!isSystemError(error)) return error
  const { errno = 0, syscall = '', path } = error
  return new SystemCallError({ errno: Math.abs(errno), syscall, ...(path === undefined ? {} : { path }) }, message, {
    cause: error,
  })
}

/** What to do if a process has no descriptor left. */
export const MORE_DESCRIPTORS =
  'no descriptor is left. Close segments and files, or allow more descriptors (ulimit -n).'
