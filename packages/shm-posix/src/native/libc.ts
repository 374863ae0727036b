import { statSync } from 'node:fs'
import type koffiModule from 'koffi'
import { cannotLoad, findInstalled } from './installed-package.js'
import { assertSupported, unsupported } from './support.js'
import { hasCode } from './system-error.js'

/**
 * The functions of the C library that Node.js does not offer. Only files of this folder call them: each gives one of them a
 * name, checks what it returns, and explains its errors. They return what C returns; see errno.
 */
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
  /** Returns the new address, or MAP_FAILED. */
  mremap(
    oldAddress: number,
    oldByteLength: number,
    newByteLength: number,
    flags: number,
    newAddress: number,
  ): number | bigint
  munmap(address: number | bigint, byteLength: number): number
  msync(address: number | bigint, byteLength: number, flags: number): number
  memfd_create(name: string, flags: number): number
  /** Not for new files: there is no mode. Node.js does not know the descriptor, so it does not close it. */
  open(path: string, flags: number): number
  close(fd: number): number
  write(fd: number, bytes: Uint8Array, byteLength: number): number
  pwritev2(
    number: number,
    fd: number,
    vectors: BigUint64Array,
    vectorCount: number,
    positionLow: number,
    positionHigh: number,
    flags: number,
  ): number
  /** Returns the error number itself. */
  pthread_sigmask(how: number, signals: BigUint64Array, before: BigUint64Array | null): number
  sigpending(signals: BigUint64Array): number
  sigtimedwait(signals: BigUint64Array, info: null, timeout: BigInt64Array): number
  mkfifo(path: string, mode: number): number
  fcntlInt(fd: number, command: number, argument: number): number
  fcntlLock(fd: number, command: number, flock: Uint8Array): number
  /** Returns the error number itself. */
  posix_fallocate(fd: number, offset: number, byteLength: number): number
  ioctl(fd: number, request: number, argument: Int32Array): number
  /** Node.js has these three, but its permission model forbids them for every file. */
  fchmod(fd: number, mode: number): number
  fchown(fd: number, uid: number, gid: number): number
  fsync(fd: number): number
  linkat(oldDirectory: number, oldPath: string, newDirectory: number, newPath: string, flags: number): number
  futexWait(number: number, address: number, operation: number, expected: number, timeout: BigInt64Array): number
  futexWake(number: number, address: number, operation: number, count: number): number
  /** The number of this thread's last error. It has to be read in the statement after the call. */
  errno(): number
  /** The address of the memory behind a view. */
  addressOf(view: ArrayBufferView): number
  /** Makes a plain ArrayBuffer over memory that the caller keeps; see bufferOver. */
  view(address: number, byteLength: number): ArrayBuffer
}

let loaded: Libc | undefined

/** @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED` */
export function libc(): Libc {
  loaded ??= load()
  return loaded
}

function load(): Libc {
  assertSupported()
  const koffi = loadKoffi()
  // The program itself exports the C library's symbols, with glibc and with musl.
  const c = koffi.load(null)
  return {
    mmap: c.func('uint64_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)'),
    munmap: c.func('int munmap(uintptr_t address, size_t length)'),
    msync: c.func('int msync(uintptr_t address, size_t length, int flags)'),
    memfd_create: c.func('int memfd_create(const char *name, unsigned int flags)'),
    close: c.func('int close(int fd)'),
    write: c.func('int64_t write(int fd, const void *bytes, size_t length)'),
    pthread_sigmask: c.func('int pthread_sigmask(int how, const void *signals, void *before)'),
    sigpending: c.func('int sigpending(void *signals)'),
    sigtimedwait: c.func('int sigtimedwait(const void *signals, void *info, const void *timeout)'),
    mkfifo: c.func('int mkfifo(const char *path, unsigned int mode)'),
    // These are variadic in C. On Linux, fixed prototypes call them correctly, and faster.
    open: c.func('open', 'int', ['const char *', 'int']),
    mremap: c.func('mremap', 'uint64_t', ['uintptr_t', 'size_t', 'size_t', 'int', 'uintptr_t']),
    fcntlInt: c.func('fcntl', 'int', ['int', 'int', 'int']),
    fcntlLock: c.func('fcntl', 'int', ['int', 'int', 'void *']),
    posix_fallocate: c.func('int posix_fallocate(int fd, int64_t offset, int64_t length)'),
    ioctl: c.func('ioctl', 'int', ['int', 'unsigned long', 'void *']),
    fchmod: c.func('int fchmod(int fd, unsigned int mode)'),
    fchown: c.func('int fchown(int fd, int uid, unsigned int gid)'),
    fsync: c.func('int fsync(int fd)'),
    linkat: c.func('int linkat(int old_fd, const char *old_path, int new_fd, const char *new_path, int flags)'),
    pwritev2: c.func('syscall', 'long', ['long', 'int', 'void *', 'int', 'long', 'long', 'int']),
    futexWait: c.func('syscall', 'long', ['long', 'uintptr_t', 'int', 'uint32_t', 'void *']),
    futexWake: c.func('syscall', 'long', ['long', 'uintptr_t', 'int', 'uint32_t']),
    errno: koffi.errno,
    addressOf: (view) => Number(koffi.address(view)),
    view: (address, byteLength) => koffi.view(address, byteLength),
  }
}

const KOFFI_ROLE = 'the package through which system calls are made'
/** The oldest release with which the tests were run. */
const KOFFI_FIRST = [3, 3]

function loadKoffi(): typeof koffiModule {
  forgetLastStat()
  const installed = findInstalled(
    'koffi',
    KOFFI_ROLE,
    'Install it (npm install koffi); of a bundle, keep koffi external, and put a node_modules folder with koffi and @koromix/koffi-… beside it',
  )
  let koffi: typeof koffiModule
  try {
    koffi = installed.load() as typeof koffiModule
  } catch (error) {
    throw cannotLoad('koffi', KOFFI_ROLE, error, installed.path)
  }
  const [major, minor] = String(koffi.version).split('.').map(Number)
  if (major === KOFFI_FIRST[0] && minor >= KOFFI_FIRST[1]) return koffi
  throw unsupported(
    `koffi ${koffi.version} was found (${installed.path}); ${KOFFI_FIRST.join('.')} or a later 3 is needed. Install it (npm install koffi@3)`,
  )
}

/** Makes the module loader work if the program's last stat was of a FIFO; see statDescriptor. */
function forgetLastStat(): void {
  try {
    statSync('/')
  } catch (error) {
    // Node.js's permission model forbids the stat. It may allow reading koffi all the same.
    if (!hasCode(error, 'ERR_ACCESS_DENIED')) throw error
  }
}
