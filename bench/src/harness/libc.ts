import koffi from 'koffi'
import type { PipeEnds } from './assignment.js'

const PR_SET_PDEATHSIG = 1
const SIGKILL = 9
const O_CLOEXEC = 0o2000000

/** What Node.js has no call for. On Linux, and of this process's C library. */
export const libc = koffi.load(null)

/** A killed parent takes this process with it. */
export function dieWithParent(): void {
  const parent = process.ppid
  libc.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)')(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
  if (process.ppid !== parent) process.exit(1)
}

/** To whoever waits for it; returns at once where nobody does. */
export const yieldCore: () => void = libc.func('int sched_yield()')

export function makePipe(): PipeEnds {
  const ends = new Int32Array(2)
  if (libc.func('int pipe2(void *ends, int flags)')(ends, O_CLOEXEC) !== 0) throw systemError('pipe2')
  return { readFd: ends[0], writeFd: ends[1] }
}

export function makeFifo(path: string): void {
  if (libc.func('int mkfifo(str path, uint mode)')(path, 0o600) !== 0) throw systemError('mkfifo')
}

/** For the call that was made right before. */
export function systemError(call: string): Error {
  return new Error(`${call} failed: errno ${koffi.errno()}`)
}
