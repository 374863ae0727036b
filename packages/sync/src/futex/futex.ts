import { IsthmusTypeError, inWords } from '../errors.js'
import { Int32Field } from '../layout/fields.js'
import type { Layout } from '../layout/layout.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import { deadlineOf, signalOf, type TimeoutOptions, type WaitOptions } from '../waiting/wait-options.js'
import { WAITER_SET_BYTES, WaiterSet } from '../waiting/waiter-set.js'

/**
 * ```
 * byte  0            4                    40
 *       +------------+-------- … ---------+
 *       | value      | wait set           |      value: written by the program; see WaiterSet for the rest
 *       +------------+-------- … ---------+
 * ```
 */
const WAIT_SET_OFFSET = 4
const ATTEMPT = 'Waiting while a futex has a value'
const FUTEX_BYTES = WAIT_SET_OFFSET + WAITER_SET_BYTES

/**
 * A 32-bit word that agents can wait for: `Atomics.wait`, `waitAsync` and `notify` across processes, and the stuff of which
 * other primitives are made.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(futex())
 * const started = region.root.waitWhile(0)
 * region.root.value = 1
 * region.root.notifyAll()
 * await started // true
 * ```
 */
export function futex(): Layout<Futex> {
  return {
    byteLength: FUTEX_BYTES,
    byteAlignment: 4,
    signature: 'futex@1',
    initialize() {},
    attach: (region, byteOffset) => new Futex(region, byteOffset),
    sweep: (region, byteOffset, deadPeer) => new WaiterSet(region, byteOffset + WAIT_SET_OFFSET).sweep(deadPeer),
  }
}

/** An attached futex. Whoever changes the value wakes those who wait; the death of anybody wakes nobody. */
export class Futex extends Int32Field {
  readonly #region: Region
  readonly #waiters: WaiterSet

  /** @internal Use the `futex` layout. */
  constructor(region: Region, byteOffset: number) {
    super(region, byteOffset)
    this.#region = region
    this.#waiters = new WaiterSet(region, byteOffset + WAIT_SET_OFFSET)
  }

  /**
   * Blocks the thread as long as the value is `expected`.
   * @returns true once it is another; false after `timeoutMs`
   */
  waitWhileSync(expected: number, options?: TimeoutOptions): boolean {
    assertWord(expected)
    const deadline = deadlineOf(options, ATTEMPT)
    assertOpen(this.#region)
    return this.#waiters.waitSync(this.#conditionOf(expected), deadline)
  }

  /**
   * The same without blocking the event loop.
   * @throws AbortError when the signal aborts
   */
  async waitWhile(expected: number, options?: WaitOptions): Promise<boolean> {
    assertWord(expected)
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    assertOpen(this.#region)
    return this.#waiters.wait(this.#conditionOf(expected), deadline, signal)
  }

  /** To be called after the value was changed. Wakes one that waits, or more. */
  notifyOne(): void {
    assertOpen(this.#region)
    this.#waiters.notifyOne()
  }

  /** To be called after the value was changed. Wakes all who wait. */
  notifyAll(): void {
    assertOpen(this.#region)
    this.#waiters.notifyAll()
  }

  /** For waitAny: ready once the value is another than `expected`. */
  otherThan(expected: number): Waitable {
    assertWord(expected)
    return { [WAITABLE]: (): WaitFor => ({ point: this.#waiters, condition: this.#conditionOf(expected) }) }
  }

  /** Pending waits keep the process running; this is the default. */
  ref(): this {
    this.#waiters.setRef(true)
    return this
  }

  /** Pending waits no longer keep the process running. */
  unref(): this {
    this.#waiters.setRef(false)
    return this
  }

  #conditionOf(expected: number): Condition {
    const { sequence } = this.#waiters
    return {
      poll: () => this.value !== expected,
      reapDead() {},
      dependsOn: () => [],
      handOffWakeup: (isReady) => {
        this.#waiters.relaySince(sequence, isReady)
      },
    }
  }
}

/** No word is ever equal to anything else: a wait would end at once, and a loop around it would never sleep. */
function assertWord(expected: unknown): void {
  if (typeof expected === 'number' && (expected | 0) === expected) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: expected is ${inWords(expected)}, which no word can hold. Give a 32-bit integer, from ${-(2 ** 31)} to ${2 ** 31 - 1}.`,
  )
}
