import { readFileSync, writeSync } from 'node:fs'
import koffi from 'koffi'

/** Constants of prctl.h, mman.h, wait.h and signal.h. */
const PR_SET_PDEATHSIG = 1
const MADV_DOFORK = 11
const WNOHANG = 1
const SIGKILL = 9

const LOWEST_ADDRESS = 4096
const USER_SPACE_END = 0x7fffffffe000

const FAILED = 70
const POLL_MS = 0.2

const c = koffi.load(null)
const fork = c.func('int fork()')
const waitpid = c.func('int waitpid(int pid, void *status, int options)')
const kill = c.func('int kill(int pid, int signal)')
const exitAtOnce = c.func('void _exit(int code)')
const prctl = c.func('int prctl(int option, ulong argument)')
const getppid = c.func('int getppid()')
const madvise = c.func('int madvise(uintptr_t address, size_t byteLength, int advice)')

const heapEnd = kernelPagesStart()

/**
 * Copies work on Node.js 20: a hundred thousand of them came to no harm. A copy of Node.js 22 was seen to end by
 * SIGSEGV. Copies of Node.js 26 hang: it gives a part of each garbage collection to other threads, whatever the flag
 * says, and a copy has none.
 */
export const canFork = process.versions.node.startsWith('20.')

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** How a process ended: by itself, or by a signal. */
export type Ending = { readonly exitCode: number } | { readonly signal: number }

/**
 * A real process, ready in two milliseconds instead of the fifty that a new Node.js takes: a copy of this process, with
 * everything loaded and compiled. That makes a hundred thousand deaths affordable.
 *
 * The copy has no other threads, so this process must run with `--single-threaded`. The copy shares this process's
 * event loop, so it must not await anything. It inherits locks, descriptors and attached segments: this process must
 * hold none through which the copy would still seem alive after its death.
 */
export class ForkedChild {
  readonly pid: number
  #ending: Ending | undefined

  private constructor(pid: number) {
    this.pid = pid
  }

  /** @param body what the copy does; then it ends, with exit code 0, or with 70 if the body throws */
  static start(body: () => void): ForkedChild {
    if (!process.execArgv.includes('--single-threaded')) {
      throw new Error('Forking: this process has threads that the copy would miss. Start it with --single-threaded.')
    }
    if (!canFork) {
      throw new Error(`Forking: copies of Node.js ${process.versions.node} do not work reliably. Use Node.js 20.`)
    }
    const parent = process.pid
    inheritHeap()
    const pid = fork()
    if (pid === -1) throw new Error(`Forking failed with error number ${koffi.errno()}`)
    if (pid !== 0) return new ForkedChild(pid)
    // A copy must not outlive a parent that is killed.
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if (getppid() !== parent) exitAtOnce(FAILED)
    try {
      body()
      exitAtOnce(0)
    } catch (error) {
      writeSync(2, `${error instanceof Error ? error.stack : error}\n`)
    }
    exitAtOnce(FAILED)
    throw new Error('unreachable')
  }

  send(signal: number): void {
    if (this.#ending === undefined) kill(this.pid, signal)
  }

  /** How the process ended; undefined while it runs. */
  poll(): Ending | undefined {
    if (this.#ending !== undefined) return this.#ending
    const status = Buffer.alloc(4)
    const found = waitpid(this.pid, status, WNOHANG)
    if (found === -1) throw new Error(`Waiting for process ${this.pid} failed with error number ${koffi.errno()}`)
    if (found === 0) return undefined
    const word = status.readInt32LE()
    const signal = word & 0x7f
    this.#ending = signal === 0 ? { exitCode: (word >> 8) & 0xff } : { signal }
    return this.#ending
  }

  /** How the process ended; undefined if it still runs after that time. */
  waitForEnd(timeoutMs: number): Ending | undefined {
    const endMs = performance.now() + timeoutMs
    for (;;) {
      const ending = this.poll()
      if (ending !== undefined || performance.now() >= endMs) return ending
      Atomics.wait(sleeper, 0, 0, POLL_MS)
    }
  }

  /** Kills the process, if it still runs, and waits until it is gone. */
  end(): Ending {
    this.send(SIGKILL)
    for (;;) {
      const ending = this.waitForEnd(1_000)
      if (ending !== undefined) return ending
    }
  }
}

/**
 * V8 asks the kernel to leave its heap out of copies, since Node.js itself never goes on in one. This call asks for the
 * opposite, for all memory at once, and right before the copy is made: what V8 allocates later is left out again.
 */
function inheritHeap(): void {
  madvise(LOWEST_ADDRESS, heapEnd - LOWEST_ADDRESS, MADV_DOFORK)
}

/** Where the kernel's own pages begin: `madvise` would stop at them. It passes over gaps. */
function kernelPagesStart(): number {
  const mapped = /^([0-9a-f]+)-.*\[vvar/m.exec(readFileSync('/proc/self/maps', 'latin1'))
  return mapped === null ? USER_SPACE_END : Number.parseInt(mapped[1], 16)
}
