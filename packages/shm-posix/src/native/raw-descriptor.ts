import { libc } from './libc.js'
import { SystemCallError } from './system-error.js'

/** Not among Node.js's constants; the same on x64 and arm64. */
const O_CLOEXEC = 0o2000000

/**
 * Opens a file without telling Node.js, for a descriptor that a `net.Socket` will own. When a worker ends, Node.js closes
 * every descriptor that `fs.openSync` gave out and `fs.closeSync` did not take back. A socket closes its own, which that
 * list does not notice, so such a descriptor would be closed twice, the second time perhaps under the number of another
 * thread's locks. The descriptor is not inherited by the programs that this one starts.
 * @returns undefined if the system refuses it, for whatever reason
 */
export function tryOpenRaw(path: string, flags: number): number | undefined {
  const fd = libc().open(path, flags | O_CLOEXEC)
  return fd === -1 ? undefined : fd
}

/** @throws SystemCallError with this message, if the system refuses it */
export function openRaw(path: string, flags: number, message: string): number {
  const fd = tryOpenRaw(path, flags)
  if (fd !== undefined) return fd
  throw new SystemCallError({ errno: libc().errno(), syscall: 'open', path }, message)
}

/** Closes a descriptor of tryOpenRaw that no socket owns. */
export function closeRaw(fd: number): void {
  libc().close(fd)
}
