import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import type koffiModule from 'koffi'
import { assertSupported, unsupported } from './support.js'

/** The few functions of the C library that Node.js has no word for. They return what C returns; see errno. */
export interface Libc {
  /** Returns the address; MAP_FAILED is -1 as an unsigned number. */
  mmap(
    address: number | bigint,
    byteLength: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): number | bigint
  munmap(address: number | bigint, byteLength: number): number
  msync(address: number | bigint, byteLength: number, flags: number): number
  memfd_create(name: string, flags: number): number
  /** Never to make a file: there is no mode. What it opens is no business of Node.js, which does not close it. */
  open(path: string, flags: number): number
  close(fd: number): number
  write(fd: number, bytes: Uint8Array, byteLength: number): number
  mkfifo(path: string, mode: number): number
  fcntlInt(fd: number, command: number, argument: number): number
  fcntlLock(fd: number, command: number, flock: Uint8Array): number
  /** Returns the error number itself. */
  posix_fallocate(fd: number, offset: number, byteLength: number): number
  ioctl(fd: number, request: number, argument: Int32Array): number
  fchmod(fd: number, mode: number): number
  fsync(fd: number): number
  linkat(oldDirectory: number, oldPath: string, newDirectory: number, newPath: string, flags: number): number
  futexWait(number: number, address: number, operation: number, expected: number, timeout: BigInt64Array): number
  futexWake(number: number, address: number, operation: number, count: number): number
  /** The number of the last error of this thread: to be read in the statement after the call. */
  errno(): number
  /** The address of the memory behind a view. */
  addressOf(view: ArrayBufferView): number
  /** A plain ArrayBuffer over foreign memory. It owns nothing: the caller keeps the memory. */
  view(address: number, byteLength: number): ArrayBuffer
}

let loaded: Libc | undefined

/** @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED` where this system cannot do it. */
export function libc(): Libc {
  loaded ??= load()
  return loaded
}

function load(): Libc {
  assertSupported()
  let koffi: typeof koffiModule
  // The program may have looked at a FIFO; see statDescriptor.
  statSync('/')
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (cause) {
    throw unsupported(
      'koffi, the package through which system calls are made, cannot be loaded. Install it anew',
      cause,
    )
  }
  // The program itself has the C library's symbols, with glibc and with musl.
  const c = koffi.load(null)
  return {
    mmap: c.func('uint64_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)'),
    munmap: c.func('int munmap(uintptr_t address, size_t length)'),
    msync: c.func('int msync(uintptr_t address, size_t length, int flags)'),
    memfd_create: c.func('int memfd_create(const char *name, unsigned int flags)'),
    close: c.func('int close(int fd)'),
    write: c.func('int64_t write(int fd, const void *bytes, size_t length)'),
    mkfifo: c.func('int mkfifo(const char *path, unsigned int mode)'),
    // These are variadic in C. On Linux, fixed prototypes call them the same way, and faster.
    open: c.func('open', 'int', ['const char *', 'int']),
    fcntlInt: c.func('fcntl', 'int', ['int', 'int', 'int']),
    fcntlLock: c.func('fcntl', 'int', ['int', 'int', 'void *']),
    posix_fallocate: c.func('int posix_fallocate(int fd, int64_t offset, int64_t length)'),
    ioctl: c.func('ioctl', 'int', ['int', 'unsigned long', 'void *']),
    fchmod: c.func('int fchmod(int fd, unsigned int mode)'),
    fsync: c.func('int fsync(int fd)'),
    linkat: c.func('int linkat(int old_fd, const char *old_path, int new_fd, const char *new_path, int flags)'),
    futexWait: c.func('syscall', 'long', ['long', 'uintptr_t', 'int', 'uint32_t', 'void *']),
    futexWake: c.func('syscall', 'long', ['long', 'uintptr_t', 'int', 'uint32_t']),
    errno: koffi.errno,
    addressOf: (view) => Number(koffi.address(view)),
    view: (address, byteLength) => koffi.view(address, byteLength),
  }
}
