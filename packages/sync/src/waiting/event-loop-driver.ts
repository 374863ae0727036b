import { callAt, nowMs, TIMER_MS_MAX } from '../host/clock.js'
import { host, setKeepsAlive } from '../host/host.js'

/** What the pending waits ask of the event loop of their thread. They use no clock and no timer but these. */
export interface EventLoopDriver {
  /** Whether a requested turn comes at once. If not (in browsers), polling in each turn is not worth while. */
  readonly hasImmediateTurns: boolean
  nowMs(): number
  /** Calls `turn` once, soon: after everything else that is due in this thread. */
  requestTurn(turn: () => void): void
  /** Calls `tick` once at this time. The request takes the place of an earlier one whose tick has not come yet. */
  requestTick(dueMs: number, tick: () => void): void
  /** Says whether the requested tick keeps the process running. Each requested tick does so until told otherwise. */
  keepAlive(isRef: boolean): void
  /** As in host/clock.ts. */
  callAt(deadline: number, callback: () => void): () => void
}

/** Drives the pending waits of this thread by the timers of its runtime. */
export class HostEventLoopDriver implements EventLoopDriver {
  readonly hasImmediateTurns = host.setImmediate !== undefined
  readonly nowMs = nowMs
  readonly callAt = callAt
  #tick: unknown
  #isRef = false

  requestTurn(turn: () => void): void {
    if (host.setImmediate !== undefined) host.setImmediate(turn)
    else host.setTimeout(turn, 0)
  }

  requestTick(dueMs: number, tick: () => void): void {
    const last = this.#tick
    const onTick = () => {
      this.#tick = undefined
      tick()
    }
    // If this throws, because the stack is full, the last one stays.
    this.#tick = host.setTimeout(onTick, Math.min(Math.max(1, dueMs - nowMs()), TIMER_MS_MAX))
    this.#isRef = true
    if (last !== undefined) host.clearTimeout(last)
  }

  keepAlive(isRef: boolean): void {
    if (this.#tick === undefined || isRef === this.#isRef) return
    this.#isRef = isRef
    setKeepsAlive(this.#tick, isRef)
  }
}
