import { abortErrorOf, throwIfAborted } from '../errors.js'
import { closedError, type Region } from '../region/region.js'
import { leaveUnhandled, onAbort } from './abort.js'
import { beforeSleep } from './before-sleep.js'
import { type Condition, pollArmed } from './condition.js'
import { callAt, nowMs, TIMER_MS_MAX } from './deadline.js'
import { host, type Signal, setKeepsAlive } from './host.js'
import { assertStackRoom } from './stack-room.js'
import type { WaitPoint } from './wait-point.js'
import { longestTickMs, tickAfter } from './waiter.js'
import { yieldBudget } from './yield-budget.js'

/**
 * A loop with many pending waits must not spend its time on ticks: this many milliseconds lie between two of them for each
 * wait, up to the longest tick. Those that others cannot reach depend on their ticks.
 */
const TICK_MS_PER_WAIT = 2
const UNREACHABLE_TICK_MS_PER_WAIT = 0.2

/** A condition, and the point at which those who bring it about look for sleepers. */
export interface WaitFor {
  readonly point: WaitPoint
  readonly condition: Condition
}

/**
 * Everything that this thread waits for without blocking. A wait is looked at in every turn of the loop for a short while
 * (see PollBudget). Then it is armed: the others see that somebody waits and ring the bell of this thread, with a hint at the
 * wait point: the waits at that point are looked at. An armed wait also has ticks of its own (see fallbackPolling). One timer,
 * while anything is armed, serves the next of them, and is what keeps the process running.
 */
class PendingWaits {
  readonly #polling = new Set<PendingWait>()
  readonly #armed = new Set<PendingWait>()
  /** The armed waits by the hints of their wait points. */
  readonly #armedAt = new Map<number, Set<PendingWait>>()
  /** How many wait points all armed waits have. */
  #armedPointCount = 0
  /** How many of the armed waits keep the process running. */
  #refCount = 0
  /** When this thread last woke another one's loop. */
  lastWakeMs = Number.NEGATIVE_INFINITY
  #isTurnDue = false
  #isRepollDue = false
  readonly #dueHints = new Set<number>()
  #tick: unknown
  #tickDueMs = Number.POSITIVE_INFINITY
  #lastTickMs = Number.NEGATIVE_INFINITY
  #lastUnreachableTickMs = Number.NEGATIVE_INFINITY
  #keepsAlive = false

  /** Resolves to whether one of these is ready; false once the time is up. */
  wait(waits: readonly WaitFor[], deadline: number, signal: Signal | undefined): Promise<boolean> {
    // No async function: what it adds to the way back costs as much as everything else.
    return new Promise((resolve, reject) => {
      assertStackRoom()
      throwIfAborted(signal)
      const isReady = isAnyReady(waits)
      if (isReady || nowMs() >= deadline) return this.#answerAtOnce(waits, isReady, resolve)
      new PendingWait(waits, resolve, reject, this).begin(deadline, signal)
    })
  }

  enter(wait: PendingWait): void {
    if (host.setImmediate === undefined || wait.pollMs === 0) {
      this.#arm(wait)
    } else {
      this.#polling.add(wait)
      this.#scheduleTurn()
    }
  }

  #answerAtOnce(waits: readonly WaitFor[], wasReady: boolean, resolve: (isReady: boolean) => void): void {
    // Who does not want to wait at all is to learn of a death, too.
    if (!wasReady) for (const { condition } of waits) condition.reapDead()
    const isReady = wasReady || isAnyReady(waits)
    for (const { condition } of waits) condition.handOffWakeup?.(isReady)
    if (yieldBudget.canCompleteSynchronously()) resolve(isReady)
    else yieldBudget.yieldToEventLoop().then(() => resolve(isReady))
  }

  /**
   * The bell rang: another thread brought about something that this one waits for, or may have.
   * @param hint of the wait point; without it, everything is looked at
   */
  repoll(hint?: number): void {
    if (hint === undefined) {
      for (const wait of this.#armed) wait.repoll()
      return
    }
    const waits = this.#armedAt.get(hint)
    if (waits !== undefined) for (const wait of waits) wait.repoll(hint)
  }

  /** Whether something is waited for that others have to bring about, and that they have been shown. */
  get isAsleep(): boolean {
    return this.#armed.size > 0
  }

  noteWake(): void {
    this.lastWakeMs = nowMs()
  }

  /** Somebody may have died: one proof for each peer of a region, however many waits depend on it. */
  reapDead(): void {
    this.#reapDeadOf(this.#armed)
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

  /** This very thread has changed something; the bell would say it later. The hint is as in repoll. */
  schedulePoll(hint?: number): void {
    if (hint === undefined) this.#isRepollDue = true
    else this.#dueHints.add(hint)
    this.#scheduleTurn()
  }

  /** For a region that is about to close. */
  endWaitsOf(region: Region): void {
    for (const waits of [this.#polling, this.#armed]) {
      for (const wait of waits) if (wait.isIn(region)) wait.fail(closedError('Waiting'))
    }
  }

  /** The waits at this point look now, and not when the loop comes to it. */
  pollPoint(point: WaitPoint): void {
    for (const waits of [this.#polling, this.#armedAt.get(point.hint) ?? []]) {
      for (const wait of waits) if (wait.isAt(point)) wait.poll()
    }
  }

  forget(wait: PendingWait): void {
    this.#polling.delete(wait)
    if (!this.#armed.delete(wait)) return
    this.#armedPointCount -= wait.pointCount
    for (const hint of wait.hints()) {
      const waits = this.#armedAt.get(hint)
      waits?.delete(wait)
      if (waits?.size === 0) this.#armedAt.delete(hint)
    }
    if (wait.countsAsRef) this.#refCount--
    this.#updateTimer()
  }

  updateKeepAlive(): void {
    this.#refCount = 0
    for (const wait of this.#armed) {
      wait.countsAsRef = wait.isRef
      if (wait.countsAsRef) this.#refCount++
    }
    this.#updateTimer()
  }

  #scheduleTurn(): void {
    if (this.#isTurnDue) return
    const turn = () => this.#turn()
    if (host.setImmediate !== undefined) host.setImmediate(turn)
    else host.setTimeout(turn, 0)
    // Not before: where the stack is full, these throw.
    this.#isTurnDue = true
  }

  #turn(): void {
    this.#isTurnDue = false
    // Taken before the looks: one of them may bring about what another one waits for.
    const isLookDue = this.#isRepollDue
    const hints = [...this.#dueHints]
    this.#isRepollDue = false
    this.#dueHints.clear()
    if (isLookDue) this.repoll()
    else for (const hint of hints) this.repoll(hint)
    const now = nowMs()
    for (const wait of this.#polling) {
      if (wait.poll() || now < wait.pollUntilMs) continue
      this.#polling.delete(wait)
      this.#arm(wait)
    }
    if (this.#polling.size > 0) this.#scheduleTurn()
  }

  #arm(wait: PendingWait): void {
    this.#armed.add(wait)
    this.#armedPointCount += wait.pointCount
    for (const hint of wait.hints()) {
      const waits = this.#armedAt.get(hint)
      if (waits === undefined) this.#armedAt.set(hint, new Set([wait]))
      else waits.add(wait)
    }
    wait.countsAsRef = wait.isRef
    if (wait.countsAsRef) this.#refCount++
    wait.arm()
    if (!this.#armed.has(wait)) return
    this.#tickAt(this.#tickOf(wait))
    this.#updateTimer()
  }

  /** Makes the timer go off at this time, or earlier. It is not taken back with each wait: most are followed by the next one. */
  #tickAt(dueMs: number): void {
    if (dueMs >= this.#tickDueMs) return
    if (this.#tick !== undefined) host.clearTimeout(this.#tick)
    this.#tickDueMs = dueMs
    this.#keepsAlive = true
    this.#tick = host.setTimeout(() => this.#onTick(), Math.min(Math.max(1, dueMs - nowMs()), TIMER_MS_MAX))
  }

  #onTick(): void {
    this.#tick = undefined
    this.#tickDueMs = Number.POSITIVE_INFINITY
    const now = nowMs()
    const due = [...this.#armed].filter((wait) => this.#tickOf(wait) <= now)
    if (due.some(({ isUnreachable }) => !isUnreachable)) this.#lastTickMs = now
    if (due.some(({ isUnreachable }) => isUnreachable)) this.#lastUnreachableTickMs = now
    this.#reapDeadOf(due)
    let nextMs = Number.POSITIVE_INFINITY
    for (const wait of this.#armed) nextMs = Math.min(nextMs, this.#tickOf(wait))
    this.#tickAt(nextMs)
    this.#updateTimer()
  }

  /** When this wait is looked at; see TICK_MS_PER_WAIT. */
  #tickOf(wait: PendingWait): number {
    const count = this.#armedPointCount
    const spaceMs = Math.min(
      count * (wait.isUnreachable ? UNREACHABLE_TICK_MS_PER_WAIT : TICK_MS_PER_WAIT),
      longestTickMs(),
    )
    return Math.max(wait.nextTickMs, (wait.isUnreachable ? this.#lastUnreachableTickMs : this.#lastTickMs) + spaceMs)
  }

  #updateTimer(): void {
    const keepsAlive = this.#refCount > 0
    if (this.#tick === undefined || keepsAlive === this.#keepsAlive) return
    this.#keepsAlive = keepsAlive
    setKeepsAlive(this.#tick, keepsAlive)
  }
}

/** A promise that is not settled yet. */
class PendingWait {
  readonly #waits: readonly WaitFor[]
  readonly #resolve: (isReady: boolean) => void
  readonly #reject: (error: unknown) => void
  readonly #loop: PendingWaits
  readonly #startedMs = nowMs()
  readonly pollMs: number
  readonly #armedPoints: WaitPoint[] = []
  #forgetAbort: (() => void) | undefined
  #forgetDeadline: (() => void) | undefined
  #isOver = false
  /** When it looks by itself; it is armed. */
  nextTickMs = Number.POSITIVE_INFINITY
  /** Whether it depends on its ticks: others cannot wake it, or a peer can die without a word from the system. */
  isUnreachable = false
  #mustPollOften = false
  /** Whether the loop has counted it among those that keep the process running. */
  countsAsRef = false

  constructor(
    waits: readonly WaitFor[],
    resolve: (isReady: boolean) => void,
    reject: (error: unknown) => void,
    loop: PendingWaits,
  ) {
    this.#waits = waits
    this.#resolve = resolve
    this.#reject = reject
    this.#loop = loop
    this.pollMs = 0
    for (const { point } of waits) {
      this.pollMs = Math.max(this.pollMs, point.pollBudget.for(this.#startedMs, loop.lastWakeMs))
    }
  }

  /** Gives it to the event loop, unless the signal has ended it by then. Whatever throws here ends it. */
  begin(deadline: number, signal: Signal | undefined): void {
    try {
      if (deadline !== Number.POSITIVE_INFINITY) {
        this.#forgetDeadline = callAt(deadline, () => this.poll() || this.#settle(false))
      }
      if (signal !== undefined) this.#forgetAbort = onAbort(signal, () => this.fail(abortErrorOf(signal)))
      if (this.#isOver) this.#forgetAbort?.()
      else this.#loop.enter(this)
    } catch (error) {
      this.fail(error)
    }
  }

  get pointCount(): number {
    return this.#waits.length
  }

  get isRef(): boolean {
    return this.#waits.some(({ point }) => point.isRef)
  }

  get pollUntilMs(): number {
    return this.#startedMs + this.pollMs
  }

  isIn(region: Region): boolean {
    return this.#waits.some(({ point }) => point.region === region)
  }

  isAt(point: WaitPoint): boolean {
    return this.#waits.some((wait) => wait.point === point)
  }

  /** Returns whether the wait is over. */
  poll(): boolean {
    return this.#settleIf(({ condition }) => condition.poll())
  }

  /** For the loop, which finds it by the hints of its wait points. */
  *hints(): Generator<number> {
    for (const { point } of this.#waits) yield point.hint
  }

  /** For an armed wait: the marks that others see have to be there still. */
  repoll(hint?: number): void {
    const isAll = hint === undefined || this.#waits.length === 1
    const waits = isAll ? this.#waits : this.#waits.filter(({ point }) => point.hint === hint)
    if (!this.#settleIf(({ condition }) => pollArmed(condition), waits)) this.#watch(waits)
  }

  /**
   * For an armed wait, at its tick or after a death. If all the dead have been swept, looking is enough: a sweep leaves
   * everything as a proof would.
   */
  reapDead(hasDead: (region: Region) => boolean): void {
    this.#attempt(() => {
      for (const { point, condition } of this.#waits) {
        point.region.waiter.listen()
        if (hasDead(point.region)) condition.reapDead()
      }
    })
    // Perhaps the system can tell by now, or the peer has made anew what was gone.
    if (this.#mustPollOften) {
      this.#mustPollOften = false
      this.#watch(this.#waits)
    }
    if (!this.#settleIf(({ condition }) => pollArmed(condition))) this.#planTick()
  }

  #planTick(): void {
    const now = nowMs()
    this.isUnreachable = this.#mustPollOften || this.#waits.some(({ point }) => point.region.waiter.isUnreachable)
    this.nextTickMs = now + tickAfter(this.isUnreachable ? 0 : now - this.#startedMs)
  }

  arm(): void {
    this.#attempt(() => {
      beforeSleep.settle()
      for (const { point } of this.#waits) {
        point.arm()
        this.#armedPoints.push(point)
      }
    })
    this.#watch(this.#waits)
    if (!this.#settleIf(({ condition }) => pollArmed(condition))) this.#planTick()
  }

  /** Watched first, then proven: who dies in between is noticed by one or the other. */
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

  #settleIf(look: (wait: WaitFor) => boolean, waits = this.#waits): boolean {
    this.#attempt(() => {
      if (waits.some(look)) this.#settle(true)
    })
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

  /** What was found stands, and may have been taken: an error on the way out does not change it. */
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

  fail(error: unknown): void {
    if (this.#isOver) return
    try {
      this.#end(false)
    } catch (another) {
      leaveUnhandled(another)
    }
    this.#reject(error)
  }

  /** Leaves nothing behind. */
  #end(isReady: boolean): void {
    this.#isOver = true
    this.#loop.forget(this)
    this.#forgetAbort?.()
    this.#forgetDeadline?.()
    const endMs = nowMs()
    const sleptMs = this.#armedPoints.length === 0 ? 0 : endMs - this.#startedMs
    for (const point of this.#armedPoints) point.disarm()
    for (const { point } of this.#waits) point.pollBudget.learn(endMs, sleptMs)
    for (const { point, condition } of this.#waits) if (!point.region.isClosed) condition.handOffWakeup?.(isReady)
  }
}

function isAnyReady(waits: readonly WaitFor[]): boolean {
  return waits.some(({ condition }) => condition.poll())
}

const KEY = Symbol.for('isthmus.event-loop@2')
const shared = globalThis as { [KEY]?: PendingWaits }

/**
 * One for each thread, also where a program has several copies of this package: a thread has one bell, and what waits
 * through another copy would not hear it.
 */
export const pendingWaits: PendingWaits = shared[KEY] ?? new PendingWaits()
shared[KEY] = pendingWaits
