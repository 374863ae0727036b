import { host, setKeepsAlive } from './host.js'

/** Timers count milliseconds in 32 bits. */
export const TIMER_MS_MAX = 2 ** 31 - 1

/** Milliseconds on a clock that never jumps. */
export function nowMs(): number {
  return host.now()
}

/**
 * Calls back at this time on the clock of `nowMs`, never earlier. The timer keeps no process running.
 * @param deadline Infinity for never
 * @returns a function that cancels the call
 * @example
 * ```ts
 * const cancel = callAt(nowMs() + 100, () => console.log('100 ms later'))
 * ```
 */
export function callAt(deadline: number, callback: () => void): () => void {
  if (deadline === Number.POSITIVE_INFINITY) return () => {}
  let timer: unknown
  const schedule = () => {
    const delayMs = Math.min(Math.max(0, Math.ceil(deadline - nowMs())), TIMER_MS_MAX)
    timer = host.setTimeout(() => (nowMs() < deadline ? schedule() : callback()), delayMs)
    setKeepsAlive(timer, false)
  }
  schedule()
  return () => host.clearTimeout(timer)
}
