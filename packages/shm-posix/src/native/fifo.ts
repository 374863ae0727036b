import { libc } from './libc.js'
import { SystemCallError } from './system-error.js'

/**
 * Makes a FIFO; the umask takes its bits from the mode.
 * @throws SystemCallError `ENOENT`, `EEXIST`, `EACCES` and others
 */
export function makeFifo(path: string, mode: number): void {
  const c = libc()
  if (c.mkfifo(path, mode) === 0) return
  throw new SystemCallError(
    { errno: c.errno(), syscall: 'mkfifo', path },
    `making ${path}, through which other threads and processes reach this thread. Allow this user to make files there.`,
  )
}
