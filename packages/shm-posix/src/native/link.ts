import { libc } from './libc.js'
import { SystemCallError } from './system-error.js'

const AT_FDCWD = -100
const AT_SYMLINK_FOLLOW = 0x400

/**
 * Gives a file without a name its first name. Not with Node.js's `link`, which does not follow /proc/self/fd, the only
 * way to such a file.
 * @throws SystemCallError `EEXIST` if the name is taken
 */
export function linkDescriptor(fd: number, path: string): void {
  const c = libc()
  if (c.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW) === 0) return
  throw new SystemCallError({ errno: c.errno(), syscall: 'linkat', path }, `giving a file the name ${path}`)
}
