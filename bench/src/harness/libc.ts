import koffi from 'koffi'
import type { PipeEnds } from './assignment.js'

const PR_SET_PDEATHSIG = 1
const SIGKILL = 9
const O_CLOEXEC = 0o2000000
/** A clock number: the time that all threads of a process together have run. */
const CPUCLOCK_SCHED = 2

/** The C library of this process, for what Node.js has no call for. Linux only. */
export const libc = koffi.load(null)

/** A killed parent takes this process with it, even if it was killed before this process came so far. */
export function dieWithParent(parent: number): void {
  libc.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)')(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
  if (process.ppid !== parent) process.exit(1)
}

/** Wakes the threads that sleep on the word; returns at once if none does. */
export const yieldCore: () => void = libc.func('int sched_yield()')

const clockGettime: (clock: number, time: BigInt64Array) => number = libc.func(
  'int clock_gettime(int clock, void *time)',
)

export function makePipe(): PipeEnds {
  const ends = new Int32Array(2)
  if (libc.func('int pipe2(void *ends, int flags)')(ends, O_CLOEXEC) !== 0) throw systemError('pipe2')
  return { readFd: ends[0], writeFd: ends[1] }
}

export function makeFifo(path: string): void {
  if (libc.func('int mkfifo(str path, uint mode)')(path, 0o600) !== 0) throw systemError('mkfifo')
}

/** How long the threads of a process have run until now, in milliseconds. Asking costs that process nothing. */
export function cpuMsOf(pid: number): number {
  const time = new BigInt64Array(2)
  if (clockGettime((~pid << 3) | CPUCLOCK_SCHED, time) !== 0) throw systemError('clock_gettime')
  return Number(time[0]) * 1e3 + Number(time[1]) / 1e6
}

/** The error of the call that was made right before. */
export function systemError(call: string): Error {
  return new Error(`${call} failed: errno ${koffi.errno()}`)
}
