import { libc } from './libc.js'

/** FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, the same on x64 and arm64. */
const GET_FLAGS = 0x80086601
const SET_FLAGS = 0x40086602
const NO_COPY_ON_WRITE = 0x00800000

const flags = new Int32Array(2)

/**
 * Asks the file system (btrfs) to write the blocks of an empty file in place, so that a store into its mapped memory never
 * needs a new block, which a full disk would not have. Other file systems do not know the flag and refuse it, which is
 * ignored.
 */
export function avoidCopyOnWrite(fd: number): void {
  const c = libc()
  flags.fill(0)
  if (c.ioctl(fd, GET_FLAGS, flags) !== 0) return
  flags[0] |= NO_COPY_ON_WRITE
  c.ioctl(fd, SET_FLAGS, flags)
}
