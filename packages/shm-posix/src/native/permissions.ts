import { libc } from './libc.js'
import { SystemCallError } from './system-error.js'

/**
 * Sets the mode of an open file, whatever the umask. Not through Node.js, whose permission model forbids fchmod and
 * fchown for every file.
 * @param message what was attempted, and what can be done
 */
export function setMode(fd: number, mode: number, message: string): void {
  const c = libc()
  if (c.fchmod(fd, mode) !== 0) throw new SystemCallError({ errno: c.errno(), syscall: 'fchmod' }, message)
}

/** Sets the group of an open file, and leaves its owner. */
export function setGroup(fd: number, gid: number, message: string): void {
  const c = libc()
  if (c.fchown(fd, -1, gid) !== 0) throw new SystemCallError({ errno: c.errno(), syscall: 'fchown' }, message)
}
