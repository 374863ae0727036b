import type { PeerId } from '../peers/peer-id.js'
import type { Region } from '../region/region.js'
import type { PollBudget } from './adaptive-spin.js'

/** What an agent waits for: something that other agents bring about in shared memory. */
export interface Condition {
  /**
   * Returns whether the condition holds. If there is something to take (a lock, a permit), it takes it: after `true`, the
   * caller has it. An error that it throws ends the wait.
   */
  poll(): boolean
  /**
   * Polled once more after this waiter is registered and before it sleeps; and at each wake-up while it stays registered.
   * It also sets the mark, if the structure has one, that makes others notify. Without it, `poll` is used.
   */
  pollArmed?(): boolean
  /** Asks whether the peers on which the condition depends still live, and frees what a dead one held. It costs system calls. */
  reapDead(): void
  /** The peers whose death can make the condition true. */
  dependsOn(): readonly PeerId[]
  /**
   * Called when the wait is over, for whatever reason, and this waiter is no longer registered. If the wait consumed a
   * wake-up that it does not need, this must wake another waiter.
   */
  handOffWakeup?(isReady: boolean): void
}

/** A condition, and the point at which the agents that bring it about look for sleepers. */
export interface WaitFor {
  readonly point: ArmablePoint
  readonly condition: Condition
  /**
   * The condition becomes true through a notification alone, and a notifier that finds no waiter leaves no trace. So waitAny
   * registers this waiter when it is called, and until it returns.
   */
  readonly isMomentary?: true
}

/** What the pending waits of an event loop know of a wait point (see WaitPoint). */
export interface ArmablePoint {
  readonly region: Region
  /** A wake-up names the wait point by this number; see Waiter.hintOf. */
  readonly hint: number
  /** Whether a pending wait here keeps the process running. */
  readonly isRef: boolean
  readonly pollBudget: PollBudget
  /** Registers this agent's event loop: from now on, notifiers wake it. Each call needs its own `disarm`. */
  arm(): void
  disarm(): void
  /**
   * Registers an armed event loop again, after a wake-up: a notifier wakes it once, and not again until then. To be called
   * before the condition is polled.
   */
  renew(): void
}

/** Polls a condition whose waiter is registered. */
export function pollArmed(condition: Condition): boolean {
  return condition.pollArmed === undefined ? condition.poll() : condition.pollArmed()
}
