/** What the runtime gives, as far as this package uses it: it takes its types neither from Node.js nor from browsers. */
export interface Timer {
  ref?(): unknown
  unref?(): unknown
}

interface Host {
  readonly performance: { now(): number }
  readonly navigator?: { readonly hardwareConcurrency?: number }
  /** Node.js only. */
  readonly setImmediate?: (callback: () => void) => unknown
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
  setInterval(callback: () => void, delayMs: number): unknown
  clearInterval(timer: unknown): void
}

export const host = globalThis as unknown as Host

/** On a single core nothing can change while we look. Node.js 20 does not tell. */
export const isSingleCore = host.navigator?.hardwareConcurrency === 1

/** Whether a timer keeps the process running; where there is no process, nothing does. */
export function setKeepsAlive(timer: unknown, keepsAlive: boolean): void {
  if (typeof timer !== 'object' || timer === null) return
  if (keepsAlive) (timer as Timer).ref?.()
  else (timer as Timer).unref?.()
}

/** The part of an AbortSignal that is needed, whoever's it is. */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}
