import { AbortError, throwIfAborted } from '../errors.js'
import { closedError, type Region } from '../region/region.js'
import type { Condition } from './condition.js'
import { callAt, nowMs } from './deadline.js'
import { host, type Signal, setKeepsAlive } from './host.js'
import { lastLook, type WaitPoint } from './wait-point.js'
import { safetyNet } from './waiter.js'

/** So many calls in a row need not wait. */
const PASSES_PER_TURN = 256

/** A condition, and the point at which those who bring it about look for sleepers. */
export interface WaitFor {
  readonly point: WaitPoint
  readonly condition: Condition
}

/**
 * Everything that this thread waits for without blocking. A wait is looked at in every turn of the loop for a short while
 * (see Patience). Then it is armed: the others see that somebody waits and ring the bell of this thread, upon which all
 * armed waits are looked at. One timer, while anything is armed, is the net below, and what keeps the process running.
 */
class EventLoop {
  readonly #restless = new Set<PendingWait>()
  readonly #armed = new Set<PendingWait>()
  #passes = 0
  /** When this thread last woke another one's loop. */
  lastRingMs = Number.NEGATIVE_INFINITY
  #isTurnDue = false
  #isLookDue = false
  #tick: unknown
  #keepsAlive = false

  /** Resolves to whether one of these is ready; false once the time is up. */
  wait(waits: readonly WaitFor[], deadline: number, signal: Signal | undefined): Promise<boolean> {
    // No async function: what it adds to the way back costs as much as everything else.
    return new Promise((resolve, reject) => {
      throwIfAborted(signal)
      const isReady = isAnyReady(waits)
      if (isReady || nowMs() >= deadline) return this.#answerAtOnce(waits, isReady, resolve)
      const wait = new PendingWait(waits, deadline, signal, resolve, reject, this)
      if (host.setImmediate === undefined || wait.patienceMs === 0) return this.#arm(wait)
      this.#restless.add(wait)
      this.#lookInNextTurn()
    })
  }

  #answerAtOnce(waits: readonly WaitFor[], wasReady: boolean, resolve: (isReady: boolean) => void): void {
    // Who does not want to wait at all is to learn of a death, too.
    if (!wasReady) for (const { condition } of waits) condition.prove()
    const isReady = wasReady || isAnyReady(waits)
    for (const { condition } of waits) condition.passOn?.(isReady)
    if (this.mayPass()) resolve(isReady)
    else this.breathe().then(() => resolve(isReady))
  }

  /** The bell rang: somebody brought about something that this thread waits for, or may have. */
  lookAround(): void {
    for (const wait of this.#armed) wait.lookAgain()
  }

  noteRing(): void {
    this.lastRingMs = nowMs()
  }

  /** Somebody may have died: one proof for each peer of a region, however many waits depend on it. */
  lookForDead(): void {
    const verdicts = new Map<Region, boolean>()
    const hasDead = (region: Region) => {
      const verdict = verdicts.get(region) ?? region.peers.hasDead()
      verdicts.set(region, verdict)
      return verdict
    }
    for (const wait of this.#armed) wait.lookForDead(hasDead)
  }

  /** Something of this very thread has changed; the bell would say it later. */
  lookSoon(): void {
    this.#isLookDue = true
    this.#lookInNextTurn()
  }

  /** For a region that is about to close. */
  endWaitsOf(region: Region): void {
    for (const waits of [this.#restless, this.#armed]) {
      for (const wait of waits) if (wait.isIn(region)) wait.fail(closedError('Waiting'))
    }
  }

  /** The waits at this point look now, and not when the loop comes to it. */
  lookAt(point: WaitPoint): void {
    for (const waits of [this.#restless, this.#armed]) {
      for (const wait of waits) if (wait.isAt(point)) wait.look()
    }
  }

  /**
   * Whether a call may be done with at once. Not every time: a program that awaits one thing after the other, all of them
   * there already, would keep its timers and sockets waiting.
   */
  mayPass(): boolean {
    return ++this.#passes < PASSES_PER_TURN
  }

  /** Where so many calls have passed, everything else that is due in this thread has its turn. */
  async breathe(): Promise<void> {
    if (this.#passes < PASSES_PER_TURN) return
    await new Promise<void>((resolve) => {
      if (host.setImmediate !== undefined) host.setImmediate(resolve)
      else host.setTimeout(resolve, 0)
    })
    this.#passes = 0
  }

  forget(wait: PendingWait): void {
    this.#restless.delete(wait)
    this.#armed.delete(wait)
    if (wait.isRef) this.updateKeepAlive()
  }

  updateKeepAlive(): void {
    if (this.#tick === undefined) return
    let keepsAlive = false
    for (const wait of this.#armed) {
      keepsAlive = wait.isRef
      if (keepsAlive) break
    }
    if (keepsAlive === this.#keepsAlive) return
    this.#keepsAlive = keepsAlive
    setKeepsAlive(this.#tick, keepsAlive)
  }

  #lookInNextTurn(): void {
    if (this.#isTurnDue) return
    this.#isTurnDue = true
    const turn = () => this.#turn()
    if (host.setImmediate !== undefined) host.setImmediate(turn)
    else host.setTimeout(turn, 0)
  }

  #turn(): void {
    this.#isTurnDue = false
    if (this.#isLookDue) {
      this.#isLookDue = false
      this.lookAround()
    }
    const now = nowMs()
    for (const wait of this.#restless) {
      if (wait.look() || now < wait.restlessUntilMs) continue
      this.#restless.delete(wait)
      this.#arm(wait)
    }
    if (this.#restless.size > 0) this.#lookInNextTurn()
  }

  #arm(wait: PendingWait): void {
    this.#armed.add(wait)
    if (this.#tick === undefined) this.#startTick()
    this.updateKeepAlive()
    wait.arm()
  }

  /** It ends when it finds nothing to do, and not with every wait: most are followed by the next one. */
  #startTick(): void {
    this.#keepsAlive = true
    this.#tick = host.setInterval(() => {
      if (this.#armed.size > 0) return this.lookForDead()
      host.clearInterval(this.#tick)
      this.#tick = undefined
    }, safetyNet.tickMs)
  }
}

/** A promise that is not settled yet. */
class PendingWait {
  readonly #waits: readonly WaitFor[]
  readonly #resolve: (isReady: boolean) => void
  readonly #reject: (error: unknown) => void
  readonly #loop: EventLoop
  readonly #startedMs = nowMs()
  readonly patienceMs: number
  readonly #armedPoints: WaitPoint[] = []
  readonly #signal: Signal | undefined
  #forgetDeadline: (() => void) | undefined
  #isOver = false

  constructor(
    waits: readonly WaitFor[],
    deadline: number,
    signal: Signal | undefined,
    resolve: (isReady: boolean) => void,
    reject: (error: unknown) => void,
    loop: EventLoop,
  ) {
    this.#waits = waits
    this.#signal = signal
    this.#resolve = resolve
    this.#reject = reject
    this.#loop = loop
    this.patienceMs = 0
    for (const { point } of waits) {
      this.patienceMs = Math.max(this.patienceMs, point.patience.for(this.#startedMs, loop.lastRingMs))
    }
    signal?.addEventListener('abort', this.#abort, { once: true })
    if (deadline !== Number.POSITIVE_INFINITY) {
      this.#forgetDeadline = callAt(deadline, () => this.look() || this.#settle(false))
    }
  }

  get isRef(): boolean {
    return this.#waits.some(({ point }) => point.isRef)
  }

  get restlessUntilMs(): number {
    return this.#startedMs + this.patienceMs
  }

  isIn(region: Region): boolean {
    return this.#waits.some(({ point }) => point.region === region)
  }

  isAt(point: WaitPoint): boolean {
    return this.#waits.some((wait) => wait.point === point)
  }

  /** Returns whether the wait is over. */
  look(): boolean {
    return this.#settleIf(({ condition }) => condition.isReady())
  }

  /** For an armed wait: the marks that others see have to be there still. */
  lookAgain(): void {
    if (!this.#settleIf(({ condition }) => lastLook(condition))) this.#watch()
  }

  /** Where everybody who is dead has been swept, looking is enough: a sweep leaves everything as a proof would. */
  lookForDead(hasDead: (region: Region) => boolean): void {
    this.#attempt(() => {
      for (const { point, condition } of this.#waits) if (hasDead(point.region)) condition.prove()
    })
    this.#settleIf(({ condition }) => lastLook(condition))
  }

  arm(): void {
    this.#attempt(() => {
      for (const { point } of this.#waits) {
        point.arm()
        this.#armedPoints.push(point)
      }
    })
    this.#watch()
    this.#settleIf(({ condition }) => lastLook(condition))
  }

  /** Watched first, then proven: who dies in between is noticed by one or the other. */
  #watch(): void {
    this.#attempt(() => {
      for (const { point, condition } of this.#waits) {
        const peers = condition.dependsOn()
        const watched = peers.filter((peer) => point.region.waiter.watch(peer))
        if (watched.length < peers.length || peers.length === 0) condition.prove()
      }
    })
  }

  #settleIf(look: (wait: WaitFor) => boolean): boolean {
    this.#attempt(() => {
      if (this.#waits.some(look)) this.#settle(true)
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

  #settle(isReady: boolean): void {
    if (this.#isOver) return
    try {
      this.#end(isReady)
      this.#resolve(isReady)
    } catch (error) {
      this.#reject(error)
    }
  }

  readonly #abort = (): void => this.fail(new AbortError(this.#signal?.reason))

  fail(error: unknown): void {
    if (this.#isOver) return
    try {
      this.#end(false)
    } finally {
      this.#reject(error)
    }
  }

  /** Leaves nothing behind. */
  #end(isReady: boolean): void {
    this.#isOver = true
    this.#loop.forget(this)
    this.#signal?.removeEventListener('abort', this.#abort)
    this.#forgetDeadline?.()
    const endMs = nowMs()
    const sleptMs = this.#armedPoints.length === 0 ? 0 : endMs - this.#startedMs
    for (const point of this.#armedPoints) point.disarm()
    for (const { point, condition } of this.#waits) {
      point.patience.learn(endMs, sleptMs)
      if (!point.region.isClosed) condition.passOn?.(isReady)
    }
  }
}

function isAnyReady(waits: readonly WaitFor[]): boolean {
  return waits.some(({ condition }) => condition.isReady())
}

const KEY = Symbol.for('isthmus.event-loop@1')
const shared = globalThis as { [KEY]?: EventLoop }

/**
 * One for each thread, also where a program has several copies of this package: a thread has one bell, and what waits
 * through another copy would not hear it.
 */
export const eventLoop: EventLoop = shared[KEY] ?? new EventLoop()
shared[KEY] = eventLoop
