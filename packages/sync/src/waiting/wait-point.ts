import type { PeerId } from '../peers/peer-id.js'
import type { Region } from '../region/region.js'
import { beforeSleep } from './before-sleep.js'
import type { Condition } from './condition.js'
import { nowMs } from './deadline.js'
import type { Signal } from './host.js'
import { PollBudget } from './patience.js'
import { pendingWaits } from './pending-waits.js'
import { AdaptiveSpin, type SpinPolicy } from './spin.js'
import { assertStackRoom } from './stack-room.js'
import { sliceAfter } from './waiter.js'

/**
 * Where agents wait for something in shared memory and are woken by those who bring it about. What the two kinds of it
 * have in common: a thread spins, looks around and sleeps; an event loop looks again for a few turns, then hears its bell.
 */
export abstract class WaitPoint {
  readonly region: Region
  /** By which the event loop finds the waits at this point; see Waiter.hintOf. */
  readonly hint: number
  /** How long an event loop looks again before it sleeps. */
  readonly pollBudget: PollBudget
  readonly #word: number
  readonly #spin: AdaptiveSpin
  #isRef = true

  /** @param word of the region's words, the one that names this point to the event loops of others */
  protected constructor(region: Region, word: number, pace: SpinPolicy) {
    this.region = region
    this.hint = region.waiter.hintOf(word)
    this.#word = word
    this.#spin = new AdaptiveSpin(pace)
    this.pollBudget = new PollBudget(region.waiter.wakeLatencyMs)
  }

  /**
   * Blocks until the condition is ready, or until the deadline (see deadlineAfter); returns whether it is. Ahead of every
   * sleep, and so at least once in a slice, it asks the condition for a proof of life.
   */
  waitSync(condition: Condition, deadline: number): boolean {
    let isReady = false
    try {
      isReady = this.#spin.until(condition) || this.#sleepUntil(condition, deadline)
      return isReady
    } finally {
      condition.handOffWakeup?.(isReady)
    }
  }

  /**
   * The same on the event loop: resolves to whether the condition is ready, false once the time is up.
   * @throws AbortError
   */
  wait(condition: Condition, deadline: number, signal: Signal | undefined): Promise<boolean> {
    return pendingWaits.wait([{ point: this, condition }], deadline, signal)
  }

  /** Whether a pending wait here keeps the process running. It does unless told otherwise. */
  get isRef(): boolean {
    return this.#isRef
  }

  setRef(isRef: boolean): void {
    this.#isRef = isRef
    pendingWaits.updateKeepAlive()
  }

  /** Polls the pending waits of this thread at this point: the caller has just changed what they wait for. */
  pollOwnWaits(): void {
    pendingWaits.pollPoint(this)
  }

  /** The same in the next turn of the event loop. */
  schedulePollOfOwnWaits(): void {
    pendingWaits.schedulePoll(this.hint)
  }

  /** From now on, whoever notifies this point rings this agent's bell. */
  abstract arm(): void
  /** Takes one `arm` back. */
  abstract disarm(): void
  /** Sets the mark that a thread sleeps here, takes the last look, sleeps, takes the mark back. Returns what the look found. */
  protected abstract sleepOnce(condition: Condition, timeoutMs: number): boolean

  /** Rings the bell of a peer that sleeps here. */
  protected wakeLoop(peer: PeerId): boolean {
    pendingWaits.noteWake()
    return this.region.waiter.wakeLoop(peer, this.#word)
  }

  #sleepUntil(condition: Condition, deadline: number): boolean {
    assertStackRoom()
    const beganMs = nowMs()
    for (;;) {
      condition.reapDead()
      if (condition.poll()) return true
      const startedMs = nowMs()
      if (startedMs >= deadline) return false
      beforeSleep.settle()
      if (this.sleepOnce(condition, Math.min(deadline - startedMs, sliceAfter(startedMs - beganMs)))) return true
      this.#spin.learn(nowMs() - startedMs)
      if (condition.poll()) return true
    }
  }
}
