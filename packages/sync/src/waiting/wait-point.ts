import type { Signal } from '../host/abort.js'
import { nowMs } from '../host/clock.js'
import { host } from '../host/host.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { PeerId } from '../peers/peer-id.js'
import type { Region } from '../region/region.js'
import { AdaptiveSpin, PollBudget, type SpinPolicy } from './adaptive-spin.js'
import type { ArmablePoint, Condition } from './condition.js'
import { SLICE_MS, sliceAfter } from './fallback-polling.js'
import { heldSpace } from './held-space.js'
import { pendingWaits } from './pending-waits.js'

/**
 * A sleep of this length teaches what any longer one does, so its length is not measured: after a long sleep, the clock of
 * `nowMs` takes 10 microseconds for its first answer, the coarse one a third of that. Two, since that one counts whole
 * milliseconds.
 */
const LONG_MS = 2
/**
 * The first sleep of a wait is this short, and no proof of death comes before it. Most sleeps end with what they wait for, and
 * a proof takes 50 microseconds if its code is in no cache.
 */
const FIRST_SLEEP_MS = 1

/**
 * A place in shared memory at which waiters register, and at which notifiers look for them. This is what its two kinds,
 * EventCount and WaiterSet, have in common: a thread spins, polls and sleeps; an event loop polls for a few turns and then
 * waits for a wake-up (see PendingWaits).
 */
export abstract class WaitPoint implements ArmablePoint {
  readonly region: Region
  readonly hint: number
  readonly pollBudget: PollBudget
  readonly #word: number
  readonly #spin: AdaptiveSpin
  #isRef = true

  /** @param word the index of the word, in the region's words, that names this point to the event loops of others */
  protected constructor(region: Region, word: number, policy: SpinPolicy) {
    this.region = region
    this.hint = region.waiter.hintOf(word)
    this.#word = word
    this.#spin = new AdaptiveSpin(policy)
    this.pollBudget = new PollBudget(region.waiter.wakeLatencyMs)
  }

  /**
   * Blocks until the condition is ready or the deadline passes (see deadlineAfter); returns whether it is ready.
   *
   * 1. Spin: poll as often as earlier waits have shown to pay.
   * 2. Reap, but not before the first sleep (see FIRST_SLEEP_MS): ask whether the peers on which the condition depends still
   *    live, and free what a dead one held.
   * 3. Poll, and give up if the deadline has passed.
   * 4. Return held space: another agent may need it to end this very wait.
   * 5. Register, poll once more, sleep for a slice at most, deregister (`sleepOnce`).
   * 6. Note how long the sleep was, poll, and go on with step 2. What a sleep before a message teaches is learned by the next
   *    wait: after a long sleep the code is not in the caches of the core, and each function takes microseconds.
   * 7. At the end, hand off a wake-up that this wait has consumed and does not need.
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
   * The same on the event loop: resolves to whether the condition is ready, to false once the deadline has passed.
   * @throws AbortError
   */
  wait(condition: Condition, deadline: number, signal: Signal | undefined): Promise<boolean> {
    return pendingWaits.wait([{ point: this, condition }], deadline, signal)
  }

  get isRef(): boolean {
    return this.#isRef
  }

  /** Says whether pending waits here keep the process running. They do unless told otherwise. */
  setRef(isRef: boolean): void {
    this.#isRef = isRef
    pendingWaits.updateKeepAlive()
  }

  /** Polls the pending waits of this thread at this point at once: the caller has just changed what they wait for. */
  pollOwnWaits(): void {
    pendingWaits.pollPoint(this)
  }

  /** Polls them in the next turn of the event loop. */
  schedulePollOfOwnWaits(): void {
    pendingWaits.schedulePoll(this.hint)
  }

  abstract arm(): void
  abstract disarm(): void
  abstract renew(): void
  /** Marks that a thread sleeps here, polls, sleeps, takes the mark back. Returns what the poll found. */
  protected abstract sleepOnce(condition: Condition, timeoutMs: number): boolean

  /** Wakes the event loop of a peer that waits here. */
  protected wakeLoop(peer: PeerId): boolean {
    pendingWaits.noteWake()
    return this.region.waiter.wakeLoop(peer, this.#word)
  }

  #sleepUntil(condition: Condition, deadline: number): boolean {
    assertStackRoom()
    const beganMs = nowMs()
    // Tests make slices endless, and then expect the same of the first sleep.
    let isCheckDue = beganMs >= deadline || sliceAfter(0) > SLICE_MS
    for (;;) {
      if (isCheckDue) condition.reapDead()
      if (isCheckDue && condition.poll()) return true
      const startedMs = nowMs()
      if (startedMs >= deadline) return false
      const sliceMs = isCheckDue ? sliceAfter(startedMs - beganMs) : FIRST_SLEEP_MS
      isCheckDue = true
      heldSpace.returnAll()
      const startedTick = host.coarseNow()
      if (this.sleepOnce(condition, Math.min(deadline - startedMs, sliceMs))) return true
      this.#spin.noteSleep(host.coarseNow() - startedTick >= LONG_MS ? LONG_MS : nowMs() - startedMs)
      if (condition.poll()) return true
    }
  }
}
