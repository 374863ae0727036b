import type { PeerId } from '../peers/peer-id.js'

/** What an agent waits for: something that others bring about in shared memory. */
export interface Condition {
  /** Looks, and takes what it finds where there is something to take. What it throws ends the wait. */
  poll(): boolean
  /**
   * The look right before a sleep, when the others can already see that we wait. It also leaves whatever mark makes them
   * look. Where there is none to leave, `isReady` does.
   */
  pollArmed?(): boolean
  /** Looks whether those on whom it depends still live, and settles what a dead one left. It costs system calls. */
  reapDead(): void
  /** Whose death would change it. */
  dependsOn(): readonly PeerId[]
  /**
   * After the wait, however it ended, when nobody counts us among the sleepers any more. A wake-up that was meant for one
   * of them may have come to us: where there is more to be had than we took, it is passed on.
   */
  handOffWakeup?(isReady: boolean): void
}

/** Polls a condition whose waiter is registered. */
export function pollArmed(condition: Condition): boolean {
  return condition.pollArmed === undefined ? condition.poll() : condition.pollArmed()
}
