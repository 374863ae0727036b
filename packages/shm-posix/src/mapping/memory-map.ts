import { libc } from '../native/libc.js'
import { SystemCallError } from '../native/system-error.js'

const PROT_READ_WRITE = 1 | 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_FAILED = 2n ** 64n - 1n

/** Maps a file anywhere, and returns where. */
export function mapFile(fd: number, byteLength: number): number {
  return mmap(0, byteLength, MAP_SHARED, fd)
}

/** Maps a file over memory that is already ours. Always writable: V8 ends the process on a store into read-only memory. */
export function mapFileOver(address: number, fd: number, byteLength: number): void {
  mmap(address, byteLength, MAP_SHARED | MAP_FIXED, fd)
}

/** Puts zeroed private memory in the place of a mapping: whoever still holds the address range keeps a valid one. */
export function mapZerosOver(address: number, byteLength: number): void {
  mmap(address, byteLength, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1)
}

function mmap(address: number, byteLength: number, flags: number, fd: number): number {
  const mapped = libc().mmap(address, byteLength, PROT_READ_WRITE, flags, fd, 0)
  // Before anything else: a view over MAP_FAILED would end the process.
  if (BigInt(mapped) === MAP_FAILED) {
    const errno = libc().errno()
    throw new SystemCallError({ errno, syscall: 'mmap' }, `mapping ${byteLength} bytes of a segment into memory`)
  }
  return Number(mapped)
}
