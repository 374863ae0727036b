import { Halt } from './halt.js'
import type { Turn } from './turn.js'

/** The timers of the thread itself: they let microtasks run. The packages get those of AgentLoop. */
const { setImmediate: nextMacrotask } = globalThis

/** More timers than a wait leaves behind. */
const LEFTOVERS_MAX = 100

interface AgentTimer {
  readonly dueMs: number
  readonly callback: () => void
}

/**
 * The event loop of one agent, in place of the thread's own: it has the immediates, the timers and the `waitAsync` of the
 * packages under test. Everything else is production code: its promises, its pending waits, their driver, HeapWaiter.
 *
 * Each turn does the first of these that is possible: an immediate; a wake-up that has come; a sleep until a
 * wake-up comes, or until the next timer is due, if the scenario lets timers go off. Which of the two ends the sleep is a
 * choice of the schedule. Microtasks run after each.
 */
export class AgentLoop {
  readonly #turn: Turn
  #immediates: (() => void)[] = []
  readonly #timers = new Set<AgentTimer>()
  #listener: { readonly word: number; readonly onWakeUp: () => void } | undefined
  /** How many timers may still go off in this schedule. */
  #timersLeft = 0

  constructor(turn: Turn) {
    this.#turn = turn
  }

  /** The globals that the packages find when they are loaded. */
  readonly globals = {
    setImmediate: (callback: () => void): void => void this.#immediates.push(callback),
    setTimeout: (callback: () => void, delayMs: number): AgentTimer => {
      const timer = { callback, dueMs: this.#turn.nowMs + delayMs }
      this.#timers.add(timer)
      return timer
    },
    clearTimeout: (timer: AgentTimer): void => void this.#timers.delete(timer),
  }

  /** `Atomics.waitAsync` has found the expected value: the result is a promise that resolves, once, in a turn after a notify. */
  listen(word: number): Promise<'ok'> {
    if (this.#listener !== undefined) throw new Error('The interleaver lets an event loop listen at one word only')
    return new Promise((resolve) => {
      this.#listener = { word, onWakeUp: () => resolve('ok') }
    })
  }

  begin(timersMax: number): void {
    this.#timersLeft = timersMax
  }

  /** Takes turns until the program of the agent has settled. */
  async run<R>(program: Promise<R>): Promise<R> {
    let isSettled = false
    const settle = (): void => {
      isSettled = true
    }
    program.then(settle, settle)
    for (;;) {
      await microtasks()
      if (isSettled) return program
      this.#takeTurn()
    }
  }

  /** After a schedule: runs what is left, with operations that are no steps, so that nothing of it reaches the next one. */
  async clear(): Promise<void> {
    this.#listener = undefined
    for (let count = 0; ; count++) {
      await microtasks()
      const callback = this.#immediates.shift() ?? this.#takeTimer()?.callback
      if (callback === undefined) return
      if (count === LEFTOVERS_MAX) throw new Error('An event loop does not come to rest after its schedule')
      callback()
    }
  }

  #takeTurn(): void {
    const immediate = this.#immediates.shift()
    if (immediate !== undefined) {
      immediate()
      return
    }
    const listener = this.#listener
    if (listener === undefined) throw new Error('An event loop waits, and has no listener: no wake-up could reach it')
    const canTimeOut = this.#timersLeft > 0 && this.#timers.size > 0
    if (this.#turn.awaitWakeUp(listener.word, canTimeOut)) {
      this.#listener = undefined
      listener.onWakeUp()
      return
    }
    const timer = this.#takeTimer()
    if (timer === undefined) return
    this.#timersLeft--
    this.#turn.nowMs = Math.max(this.#turn.nowMs, timer.dueMs)
    timer.callback()
  }

  #takeTimer(): AgentTimer | undefined {
    const [first] = [...this.#timers].sort((one, other) => one.dueMs - other.dueMs)
    if (first !== undefined) this.#timers.delete(first)
    return first
  }
}

function microtasks(): Promise<void> {
  return new Promise((resolve) => nextMacrotask(resolve))
}

/** A wait that a halted agent leaves may reject with nothing to catch it: that is no fault of the packages. */
export function ignoreHalts(): void {
  process.on('unhandledRejection', (error) => {
    if (!(error instanceof Halt)) throw error
  })
}
