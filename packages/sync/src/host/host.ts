import { IsthmusError } from '../errors.js'

/** A timer as Node.js makes it. Browsers have numbers instead. */
export interface Timer {
  ref?(): unknown
  unref?(): unknown
}

/** The part of the runtime that this package uses. Its types come neither from Node.js nor from browsers. */
interface Runtime {
  readonly performance?: { now(): number }
  readonly navigator?: { readonly hardwareConcurrency?: number }
  readonly crypto?: { getRandomValues(words: Uint32Array): unknown }
  /** Node.js only. */
  readonly setImmediate?: (callback: () => void) => unknown
  readonly setTimeout?: (callback: () => void, delayMs: number) => unknown
  readonly clearTimeout?: (timer: unknown) => void
  readonly setInterval?: (callback: () => void, delayMs: number) => unknown
  readonly clearInterval?: (timer: unknown) => void
}

const runtime = globalThis as unknown as Runtime

/**
 * The clock and the timers as they are when this module is loaded. The tests of a program may replace them later (fake
 * timers), and no code can move a fake clock while a call blocks its thread.
 */
export const host = {
  now: taken('performance.now', runtime.performance?.now, runtime.performance),
  /** Whole milliseconds, on a clock that may jump: for guesses. */
  coarseNow: Date.now,
  setImmediate: runtime.setImmediate?.bind(globalThis),
  setTimeout: taken('setTimeout', runtime.setTimeout),
  clearTimeout: taken('clearTimeout', runtime.clearTimeout),
  setInterval: taken('setInterval', runtime.setInterval),
  clearInterval: taken('clearInterval', runtime.clearInterval),
}

/** On a single core nothing can change while this thread spins. Node.js 20 does not say how many cores there are. */
export const isSingleCore = runtime.navigator?.hardwareConcurrency === 1

/** 32 random bits, different ones in each thread. */
export function randomWord(): number {
  const word = new Uint32Array(1)
  // A vm context may have no crypto. The seed of Math.random is the same in all threads under --random-seed.
  if (runtime.crypto === undefined) return (Math.random() * 2 ** 32) | 0
  runtime.crypto.getRandomValues(word)
  return word[0] | 0
}

/** Says whether a timer keeps the process running. It has no effect in a runtime without processes. */
export function setKeepsAlive(timer: unknown, keepsAlive: boolean): void {
  if (typeof timer !== 'object' || timer === null) return
  if (keepsAlive) (timer as Timer).ref?.()
  else (timer as Timer).unref?.()
}

function taken<F extends (...args: never[]) => unknown>(
  name: string,
  call: F | undefined,
  owner: object = globalThis,
): F {
  const missing = (): never => {
    throw new IsthmusError(
      'ERR_ISTHMUS_UNSUPPORTED',
      `Waiting: there was no ${name} when @isthmus/sync was loaded. In a vm context, provide it before loading the package.`,
    )
  }
  return (call === undefined ? missing : call.bind(owner)) as F
}
