import { libc } from '../native/libc.js'
import { SystemCallError } from '../native/system-error.js'

const PROT_READ_WRITE = 1 | 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_FAILED = 2n ** 64n - 1n
const MREMAP_MAYMOVE = 1
const MREMAP_FIXED = 2
/** Of a shared mapping, mremap moves nothing then: it makes a second one. */
const NOTHING_TO_MOVE = 0

/** Maps a file anywhere, and returns where. */
export function mapFile(fd: number, byteLength: number): number {
  return mmap(0, byteLength, MAP_SHARED, fd)
}

/** Maps a file over memory that is already ours. Always writable: V8 ends the process on a store into read-only memory. */
export function mapFileOver(address: number, fd: number, byteLength: number): void {
  mmap(address, byteLength, MAP_SHARED | MAP_FIXED, fd)
}

/** Maps the file that is mapped at `mappedAddress` once more, over memory that is already ours. Takes no descriptor. */
export function mapAgainOver(address: number, mappedAddress: number, byteLength: number): void {
  const flags = MREMAP_MAYMOVE | MREMAP_FIXED
  assertMapped(libc().mremap(mappedAddress, NOTHING_TO_MOVE, byteLength, flags, address), 'mremap', byteLength)
}

/** Puts zeroed private memory in the place of a mapping: whoever still holds the address range keeps a valid one. */
export function mapZerosOver(address: number, byteLength: number): void {
  mmap(address, byteLength, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1)
}

function mmap(address: number, byteLength: number, flags: number, fd: number): number {
  return assertMapped(libc().mmap(address, byteLength, PROT_READ_WRITE, flags, fd, 0), 'mmap', byteLength)
}

/** In the statement after the call. Before anything else: a view over MAP_FAILED would end the process. */
function assertMapped(mapped: number | bigint, syscall: string, byteLength: number): number {
  if (BigInt(mapped) !== MAP_FAILED) return Number(mapped)
  const errno = libc().errno()
  throw new SystemCallError({ errno, syscall }, `mapping ${byteLength} bytes of a segment into memory`)
}
