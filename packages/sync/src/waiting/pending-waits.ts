import { abortErrorOf, closedError, throwIfAborted } from '../errors.js'
import { leaveUnhandled, onAbort, type Signal } from '../host/abort.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Region } from '../region/region.js'
import { type ArmablePoint, pollArmed, type WaitFor } from './condition.js'
import { type EventLoopDriver, HostEventLoopDriver } from './event-loop-driver.js'
import { longestTickMs, tickAfter } from './fallback-polling.js'
import { heldSpace } from './held-space.js'
import { yieldBudget } from './yield-budget.js'

/**
 * An event loop with many pending waits must not spend its time on ticks: for each wait, this many milliseconds lie between
 * two ticks, up to the longest tick. Waits that no wake-up can reach depend on their ticks, so theirs lie closer together.
 */
const TICK_MS_PER_WAIT = 2
const UNREACHABLE_TICK_MS_PER_WAIT = 0.2

/**
 * All waits of a thread that do not block it. A wait goes through these steps:
 *
 * 1. `wait` polls its conditions. If one is ready, or the deadline has passed already, the promise settles at once.
 * 2. *Polling*: for a short while (see PollBudget), each turn of the event loop polls it.
 * 3. *Armed*: held space is returned; each wait point registers this event loop; each peer on which a condition depends is
 *    watched, or else checked; then the conditions are polled once more. From now on a wake-up names the wait point by its
 *    hint, and the armed waits there are polled.
 * 4. An armed wait also has ticks (see fallbackPolling): the dead are reaped, and it is polled. One timer serves the next
 *    tick of all of them, and keeps the process running if one of them must.
 * 5. The wait ends when a poll finds it ready, at its deadline, by its signal, when its region closes, or with an error. It
 *    deregisters at all points, and hands off a wake-up that it does not need.
 *
 * This class decides what happens and when. It has neither a clock nor timers: it asks its driver to call `turn` soon and
 * `tick` at a time; waiters call `repoll` when a wake-up comes. So a test can take all its steps in any order.
 */
export class PendingWaits {
  readonly #driver: EventLoopDriver
  readonly #polling = new Set<PendingWait>()
  readonly #armed = new Set<PendingWait>()
  /** The armed waits by the hints of their wait points. */
  readonly #armedAt = new Map<number, Set<PendingWait>>()
  /** How many wait points all armed waits have. */
  #armedPointCount = 0
  /** How many of the armed waits keep the process running. */
  #refCount = 0
  /** When this thread last woke another one's event loop. */
  #lastWakeMs = Number.NEGATIVE_INFINITY
  #isTurnDue = false
  #isRepollDue = false
  readonly #dueHints = new Set<number>()
  #tickDueMs = Number.POSITIVE_INFINITY
  #lastTickMs = Number.NEGATIVE_INFINITY
  #lastUnreachableTickMs = Number.NEGATIVE_INFINITY
  readonly #onTurn = () => this.turn()
  readonly #onTick = () => this.tick()
  readonly #onEnd = (wait: PendingWait) => this.#forget(wait)

  constructor(driver: EventLoopDriver) {
    this.#driver = driver
  }

  /** Resolves to whether one of these is ready; to false once the deadline has passed. */
  wait(waits: readonly WaitFor[], deadline: number, signal: Signal | undefined): Promise<boolean> {
    // Not an async function: what that adds to the way back costs as much as everything else.
    return new Promise((resolve, reject) => {
      assertStackRoom()
      throwIfAborted(signal)
      if (isAnyReady(waits)) return this.#answerAtOnce(waits, true, resolve)
      const now = this.#driver.nowMs()
      if (now >= deadline) return this.#answerAtOnce(waits, false, resolve)
      const wait = new PendingWait(waits, this.#driver, now, this.#lastWakeMs, resolve, reject, this.#onEnd)
      if (wait.begin(deadline, signal)) this.#enter(wait)
    })
  }

  /** One turn of the event loop, as requested from the driver. */
  turn(): void {
    this.#isTurnDue = false
    // Taken before the polls: one of them may bring about what another one waits for.
    const isRepollDue = this.#isRepollDue
    const hints = [...this.#dueHints]
    this.#isRepollDue = false
    this.#dueHints.clear()
    if (isRepollDue) this.repoll()
    else for (const hint of hints) this.repoll(hint)
    const now = this.#driver.nowMs()
    for (const wait of this.#polling) {
      if (wait.poll() || now < wait.pollUntilMs) continue
      this.#polling.delete(wait)
      this.#arm(wait)
    }
    if (this.#polling.size > 0) this.#requestTurn()
  }

  /** Serves all waits whose tick has come, as requested from the driver. */
  tick(): void {
    this.#tickDueMs = Number.POSITIVE_INFINITY
    const now = this.#driver.nowMs()
    const due = [...this.#armed].filter((wait) => this.#tickOf(wait) <= now)
    if (due.some(({ isUnreachable }) => !isUnreachable)) this.#lastTickMs = now
    if (due.some(({ isUnreachable }) => isUnreachable)) this.#lastUnreachableTickMs = now
    this.#reapDeadOf(due)
    let nextMs = Number.POSITIVE_INFINITY
    for (const wait of this.#armed) nextMs = Math.min(nextMs, this.#tickOf(wait))
    this.#requestTick(nextMs)
    this.#updateDriver()
  }

  /**
   * A wake-up has come: another thread has brought about something that this one waits for, or may have.
   * @param hint of the wait point; without it, all armed waits are polled
   */
  repoll(hint?: number): void {
    if (hint === undefined) {
      for (const wait of this.#armed) wait.repoll()
      return
    }
    const waits = this.#armedAt.get(hint)
    if (waits !== undefined) for (const wait of waits) wait.repoll(hint)
  }

  /** The same in the next turn, for a change by this very thread. The hint is as in `repoll`. */
  schedulePoll(hint?: number): void {
    if (hint === undefined) this.#isRepollDue = true
    else this.#dueHints.add(hint)
    this.#requestTurn()
  }

  /** Polls the waits at this point at once, before their next turn or wake-up. */
  pollPoint(point: ArmablePoint): void {
    for (const waits of [this.#polling, this.#armedAt.get(point.hint) ?? []]) {
      for (const wait of waits) if (wait.isAt(point)) wait.poll()
    }
  }

  /** A peer may have died: checks each region once, however many waits depend on its peers. */
  reapDead(): void {
    this.#reapDeadOf(this.#armed)
  }

  /** This thread has just woken another one's event loop. */
  noteWake(): void {
    this.#lastWakeMs = this.#driver.nowMs()
  }

  /** Asks all points anew whether their waits keep the process running. */
  updateKeepAlive(): void {
    this.#refCount = 0
    for (const wait of this.#armed) {
      wait.countsAsRef = wait.isRef
      if (wait.countsAsRef) this.#refCount++
    }
    this.#updateDriver()
  }

  /** Rejects all waits in a region that is about to close, with `ERR_ISTHMUS_CLOSED`. */
  endWaitsOf(region: Region): void {
    for (const waits of [this.#polling, this.#armed]) {
      for (const wait of waits) if (wait.isIn(region)) wait.fail(closedError('Waiting'))
    }
  }

  #answerAtOnce(waits: readonly WaitFor[], wasReady: boolean, resolve: (isReady: boolean) => void): void {
    // A call with a timeout of 0 must notice a death as well.
    if (!wasReady) for (const { condition } of waits) condition.reapDead()
    const isReady = wasReady || isAnyReady(waits)
    for (const { condition } of waits) condition.handOffWakeup?.(isReady)
    if (yieldBudget.canCompleteSynchronously()) resolve(isReady)
    else yieldBudget.yieldToEventLoop().then(() => resolve(isReady))
  }

  /** An error ends the wait: the driver throws if the stack is full. */
  #enter(wait: PendingWait): void {
    try {
      if (!this.#driver.hasImmediateTurns || wait.pollMs === 0) {
        this.#arm(wait)
      } else {
        this.#polling.add(wait)
        this.#requestTurn()
      }
    } catch (error) {
      wait.fail(error)
    }
  }

  #arm(wait: PendingWait): void {
    this.#armed.add(wait)
    heldSpace.isLoopAsleep = true
    this.#armedPointCount += wait.waits.length
    for (const { point } of wait.waits) {
      const waits = this.#armedAt.get(point.hint)
      if (waits === undefined) this.#armedAt.set(point.hint, new Set([wait]))
      else waits.add(wait)
    }
    wait.countsAsRef = wait.isRef
    if (wait.countsAsRef) this.#refCount++
    wait.arm()
    if (!this.#armed.has(wait)) return
    this.#requestTick(this.#tickOf(wait))
    this.#updateDriver()
  }

  #forget(wait: PendingWait): void {
    this.#polling.delete(wait)
    if (!this.#armed.delete(wait)) return
    heldSpace.isLoopAsleep = this.#armed.size > 0
    this.#armedPointCount -= wait.waits.length
    for (const { point } of wait.waits) {
      const waits = this.#armedAt.get(point.hint)
      waits?.delete(wait)
      if (waits?.size === 0) this.#armedAt.delete(point.hint)
    }
    if (wait.countsAsRef) this.#refCount--
    this.#updateDriver()
  }

  #reapDeadOf(waits: Iterable<PendingWait>): void {
    const verdicts = new Map<Region, boolean>()
    const hasDead = (region: Region) => {
      const verdict = verdicts.get(region) ?? region.peers.hasDead()
      verdicts.set(region, verdict)
      return verdict
    }
    for (const wait of waits) wait.reapDead(hasDead)
  }

  #requestTurn(): void {
    if (this.#isTurnDue) return
    this.#driver.requestTurn(this.#onTurn)
    // Noted after the request, which throws if the stack is full.
    this.#isTurnDue = true
  }

  /** The request is not taken back when a wait ends: another wait usually follows. */
  #requestTick(dueMs: number): void {
    if (dueMs >= this.#tickDueMs) return
    // The driver throws if the stack is full. Then the tick that was requested before, if any, still comes.
    this.#driver.requestTick(dueMs, this.#onTick)
    this.#tickDueMs = dueMs
  }

  /** When this wait has its next tick; see TICK_MS_PER_WAIT. */
  #tickOf(wait: PendingWait): number {
    const count = this.#armedPointCount
    const spaceMs = Math.min(
      count * (wait.isUnreachable ? UNREACHABLE_TICK_MS_PER_WAIT : TICK_MS_PER_WAIT),
      longestTickMs(),
    )
    return Math.max(wait.nextTickMs, (wait.isUnreachable ? this.#lastUnreachableTickMs : this.#lastTickMs) + spaceMs)
  }

  #updateDriver(): void {
    this.#driver.keepAlive(this.#refCount > 0)
  }
}

/** One call of `PendingWaits.wait` that has not settled yet: what it waits for, at one or more points. */
class PendingWait {
  readonly waits: readonly WaitFor[]
  readonly #driver: EventLoopDriver
  readonly #startedMs: number
  readonly #resolve: (isReady: boolean) => void
  readonly #reject: (error: unknown) => void
  readonly #onEnd: (wait: PendingWait) => void
  /** For how long each turn polls it before it is armed. */
  readonly pollMs: number
  readonly #armedPoints: ArmablePoint[] = []
  #forgetAbort: (() => void) | undefined
  #forgetDeadline: (() => void) | undefined
  #isOver = false
  /** When it polls by itself, once it is armed. */
  nextTickMs = Number.POSITIVE_INFINITY
  /** Whether it depends on its ticks: no wake-up can reach this thread, or the system cannot tell of the death of a peer. */
  isUnreachable = false
  #mustPollOften = false
  /** Whether it is counted among the waits that keep the process running. */
  countsAsRef = false

  constructor(
    waits: readonly WaitFor[],
    driver: EventLoopDriver,
    startedMs: number,
    lastWakeMs: number,
    resolve: (isReady: boolean) => void,
    reject: (error: unknown) => void,
    onEnd: (wait: PendingWait) => void,
  ) {
    this.waits = waits
    this.#driver = driver
    this.#startedMs = startedMs
    this.#resolve = resolve
    this.#reject = reject
    this.#onEnd = onEnd
    this.pollMs = 0
    for (const { point } of waits) this.pollMs = Math.max(this.pollMs, point.pollBudget.for(startedMs, lastWakeMs))
  }

  /** Heeds the deadline and the signal from now on. Returns false if the wait is over already: by its signal, or by an error. */
  begin(deadline: number, signal: Signal | undefined): boolean {
    try {
      if (deadline !== Number.POSITIVE_INFINITY) {
        this.#forgetDeadline = this.#driver.callAt(deadline, () => this.poll() || this.#settle(false))
      }
      if (signal !== undefined) this.#forgetAbort = onAbort(signal, () => this.fail(abortErrorOf(signal)))
      if (this.#isOver) this.#forgetAbort?.()
    } catch (error) {
      this.fail(error)
    }
    return !this.#isOver
  }

  get isRef(): boolean {
    return this.waits.some(({ point }) => point.isRef)
  }

  get pollUntilMs(): number {
    return this.#startedMs + this.pollMs
  }

  isIn(region: Region): boolean {
    return this.waits.some(({ point }) => point.region === region)
  }

  isAt(point: ArmablePoint): boolean {
    return this.waits.some((wait) => wait.point === point)
  }

  /** Returns whether the wait is over. */
  poll(): boolean {
    return this.#settleIf(isReady)
  }

  /** Registers at all points, then checks on the peers, then polls. An error ends the wait. */
  arm(): void {
    this.#attempt(() => {
      heldSpace.returnAll()
      for (const { point } of this.waits) {
        point.arm()
        this.#armedPoints.push(point)
      }
    })
    this.#watch(this.waits)
    if (!this.#settleIf(({ condition }) => pollArmed(condition))) this.#planTick()
  }

  /**
   * Polls an armed wait. If it goes on, registers it again and polls it once more; `pollArmed` also renews the marks that
   * make others notify.
   */
  repoll(hint?: number): void {
    const isAll = hint === undefined || this.waits.length === 1
    const waits = isAll ? this.waits : this.waits.filter(({ point }) => point.hint === hint)
    if (!this.#settleIf(isReady, waits) && !this.#settleIf(renewAndPoll, waits)) this.#watch(waits)
  }

  /**
   * For an armed wait, at its tick or after a death. If all the dead have been swept, polling is enough: a sweep leaves
   * what reaping would leave.
   */
  reapDead(hasDead: (region: Region) => boolean): void {
    this.#attempt(() => {
      for (const { point, condition } of this.waits) {
        point.region.waiter.listen()
        if (hasDead(point.region)) condition.reapDead()
      }
    })
    // The system may be able to tell by now, or the peer may have repaired its channel.
    if (this.#mustPollOften) {
      this.#mustPollOften = false
      this.#watch(this.waits)
    }
    if (!this.#settleIf(renewAndPoll)) this.#planTick()
  }

  fail(error: unknown): void {
    if (this.#isOver) return
    try {
      this.#end(false)
    } catch (another) {
      leaveUnhandled(another)
    }
    this.#reject(error)
  }

  #planTick(): void {
    const now = this.#driver.nowMs()
    this.isUnreachable = this.#mustPollOften || this.waits.some(({ point }) => point.region.waiter.isUnreachable)
    this.nextTickMs = now + tickAfter(this.isUnreachable ? 0 : now - this.#startedMs)
  }

  /** Watches each peer before it checks on it: a death in between is noticed by one or the other. */
  #watch(waits: readonly WaitFor[]): void {
    this.#attempt(() => {
      for (const { point, condition } of waits) {
        const peers = condition.dependsOn()
        let isWatched = peers.length > 0
        for (const peer of peers) {
          const watch = point.region.waiter.watch(peer)
          if (watch !== 'already') isWatched = false
          if (watch === 'never') this.#mustPollOften = true
        }
        if (!isWatched) condition.reapDead()
      }
    })
  }

  /** Without #attempt: a wake-up that brings a message comes this way, with as few functions as possible. */
  #settleIf(test: (wait: WaitFor) => boolean, waits = this.waits): boolean {
    if (this.#isOver) return true
    try {
      if (waits.length === 1 ? test(waits[0]) : waits.some(test)) this.#settle(true)
    } catch (error) {
      this.fail(error)
    }
    return this.#isOver
  }

  #attempt(action: () => void): void {
    if (this.#isOver) return
    try {
      action()
    } catch (error) {
      this.fail(error)
    }
  }

  /** What the poll found stands, and may have been taken: an error in the clean-up does not change it. */
  #settle(isReady: boolean): void {
    if (this.#isOver) return
    try {
      this.#end(isReady)
    } catch (error) {
      if (isReady) leaveUnhandled(error)
      else this.#reject(error)
    }
    this.#resolve(isReady)
  }

  /** Leaves nothing behind. */
  #end(isReady: boolean): void {
    this.#isOver = true
    this.#onEnd(this)
    this.#forgetAbort?.()
    this.#forgetDeadline?.()
    const endMs = this.#driver.nowMs()
    const sleptMs = this.#armedPoints.length === 0 ? 0 : endMs - this.#startedMs
    for (const point of this.#armedPoints) point.disarm()
    for (const { point } of this.waits) point.pollBudget.learn(endMs, sleptMs)
    for (const { point, condition } of this.waits) if (!point.region.isClosed) condition.handOffWakeup?.(isReady)
  }
}

function renewAndPoll({ point, condition }: WaitFor): boolean {
  point.renew()
  return pollArmed(condition)
}

function isReady({ condition }: WaitFor): boolean {
  return condition.poll()
}

function isAnyReady(waits: readonly WaitFor[]): boolean {
  return waits.some(isReady)
}

const KEY = Symbol.for('isthmus.pending-waits@4')
const shared = globalThis as { [KEY]?: PendingWaits }

/**
 * One for each thread, even if a program has several copies of this package: a thread has one wake-up channel, and a wait
 * in the instance of another copy would not learn of the wake-up.
 */
export const pendingWaits: PendingWaits = shared[KEY] ?? new PendingWaits(new HostEventLoopDriver())
shared[KEY] = pendingWaits
