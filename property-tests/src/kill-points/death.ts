import { readFileSync } from 'node:fs'
import koffi from 'koffi'

/** Constants of signal.h on Linux. */
const SIGKILL = 9
const SIGSTOP = 19

const c = koffi.load(null)
const kill = c.func('int kill(int pid, int signal)')
const getpid = c.func('int getpid()')

/** Ends this process before the call returns: the kernel delivers a signal that a process sends to itself at once. */
export function die(): never {
  kill(getpid(), SIGKILL)
  throw new Error('The process still runs after its SIGKILL')
}

/** Stops this process before the call returns, in the same way. It returns once the process is continued. */
export function halt(): void {
  kill(getpid(), SIGSTOP)
}

/** Whether all threads of the process are stopped. */
export function isHalted(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The state comes after the name, which may contain any character.
  return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T')
}

/** Corrects `process.pid` in a copy, which Node.js has taken from the process that was copied. */
export function correctProcessId(): void {
  Object.defineProperty(process, 'pid', { value: getpid(), configurable: true })
}
