import { libc } from './libc.js'
import { SystemCallError } from './system-error.js'

const PROT_READ_WRITE = 1 | 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_FAILED = 2n ** 64n - 1n
const MREMAP_MAYMOVE = 1
const MREMAP_FIXED = 2
/** With an old length of 0, mremap leaves a shared mapping in place and makes a second one. */
const NOTHING_TO_MOVE = 0

/** Maps a file anywhere, and returns the address. */
export function mapFile(fd: number, byteLength: number): number {
  return mmap(0, byteLength, MAP_SHARED, fd)
}

/** Maps a file over memory that is already ours. Always writable: V8 ends the process on a store into read-only memory. */
export function mapFileOver(address: number, fd: number, byteLength: number): void {
  mmap(address, byteLength, MAP_SHARED | MAP_FIXED, fd)
}

/** Maps the file that is mapped at `mappedAddress` once more, over memory that is already ours. Needs no descriptor. */
export function mapAgainOver(address: number, mappedAddress: number, byteLength: number): void {
  const flags = MREMAP_MAYMOVE | MREMAP_FIXED
  assertMapped(libc().mremap(mappedAddress, NOTHING_TO_MOVE, byteLength, flags, address), 'mremap', byteLength)
}

/** Replaces a mapping by zeroed private memory, so that the address range stays valid for every view of it. */
export function mapZerosOver(address: number, byteLength: number): void {
  mmap(address, byteLength, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1)
}

export function unmap(address: number, byteLength: number): void {
  libc().munmap(address, byteLength)
}

/** The address of the memory behind a view. */
export function addressOf(view: ArrayBufferView): number {
  return libc().addressOf(view)
}

/**
 * A plain ArrayBuffer over mapped memory. It does not own the memory: the caller unmaps it. This is the only native call
 * that makes a JavaScript object: if its thread is terminated meanwhile, koffi aborts the process. See ARCHITECTURE.md.
 */
export function bufferOver(address: number, byteLength: number): ArrayBuffer {
  return libc().view(address, byteLength)
}

function mmap(address: number, byteLength: number, flags: number, fd: number): number {
  return assertMapped(libc().mmap(address, byteLength, PROT_READ_WRITE, flags, fd, 0), 'mmap', byteLength)
}

/** Called in the statement of the system call itself: a view over MAP_FAILED would end the process. */
function assertMapped(mapped: number | bigint, syscall: string, byteLength: number): number {
  if (BigInt(mapped) !== MAP_FAILED) return Number(mapped)
  const errno = libc().errno()
  throw new SystemCallError({ errno, syscall }, `mapping ${byteLength} bytes of a segment into memory`)
}
