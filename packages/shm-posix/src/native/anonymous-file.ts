import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { allocate } from './allocation.js'
import { MORE_DESCRIPTORS } from './explanation.js'
import { libc } from './libc.js'
import { openAgain } from './open-again.js'
import { setMode } from './permissions.js'
import { SystemCallError } from './system-error.js'

const { EMFILE, ENFILE } = constants.errno

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const F_ADD_SEALS = 1033
const F_SEAL_SEAL = 1
const F_SEAL_SHRINK = 2
const F_SEAL_GROW = 4

/**
 * Makes a file in memory without a name. It is allocated and sealed: nothing can truncate it, so no access to it faults.
 * The descriptor is one of Node.js's own, which closes it with the thread that opened it, however that thread ends.
 */
export function openAnonymousFile(byteLength: number): number {
  const c = libc()
  const memfd = c.memfd_create('isthmus', MFD_CLOEXEC | MFD_ALLOW_SEALING)
  if (memfd === -1) {
    const errno = c.errno()
    const advice = errno === EMFILE || errno === ENFILE ? MORE_DESCRIPTORS : 'the system refuses it.'
    throw new SystemCallError({ errno, syscall: 'memfd_create' }, `making an anonymous segment: ${advice}`)
  }
  let fd: number
  try {
    // At once: a thread that is terminated here would leave the other descriptor open.
    fd = openAgain(memfd)
  } finally {
    c.close(memfd)
  }
  try {
    // The kernel's default lets everyone in.
    setMode(fd, 0o600, 'making an anonymous segment')
    allocate(fd, byteLength, 'an anonymous segment')
    const isSealed = c.fcntlInt(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) === 0
    if (!isSealed) throw new SystemCallError({ errno: c.errno(), syscall: 'fcntl' }, 'sealing an anonymous segment')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
