import { IsthmusTypeError, inWords } from '../errors.js'
import { Int32Field } from '../layout/fields.js'
import type { Layout } from '../layout/layout.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Condition, WaitFor } from '../waiting/condition.js'
import { WAITABLE, type Waitable } from '../waiting/wait-any.js'
import {
  deadlineOf,
  signalOf,
  type TimeoutOptions,
  type UntimedOptions,
  type WaitOptions,
} from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import { FUTEX_BYTES, WAITER_SET_OFFSET } from './layout.js'

const ATTEMPT = 'Waiting while a futex has a value'

/**
 * A 32-bit word that agents can wait for: what `Atomics.wait`, `waitAsync` and `notify` are within a process, also across
 * processes. Other primitives can be made of it.
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
    /** Zeroed memory is a futex with the value 0 and no waiters. */
    initialize() {},
    attach: (region, byteOffset) => new Futex(region, byteOffset),
    sweep: (region, byteOffset, deadPeer) => new WaiterSet(region, byteOffset + WAITER_SET_OFFSET).sweep(deadPeer),
  }
}

/**
 * An attached futex. An agent that changes the value notifies the waiters afterwards. The death of a peer wakes no waiter:
 * nothing says whose turn it was to change the value.
 */
export class Futex extends Int32Field {
  readonly #region: Region
  readonly #waiters: WaiterSet

  /** @internal Use the `futex` layout. */
  constructor(region: Region, byteOffset: number) {
    super(region, byteOffset)
    this.#region = region
    this.#waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET)
  }

  /**
   * Blocks the thread as long as the value is `expected`.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(futex())
   * root.waitWhileSync(0, { timeoutMs: 5 }) // false
   * ```
   *
   * @param expected a 32-bit integer
   * @returns true once the value is another; false after `timeoutMs`
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  waitWhileSync(expected: number): true
  waitWhileSync(expected: number, options: TimeoutOptions): boolean
  waitWhileSync(expected: number, options?: TimeoutOptions): boolean {
    assertWord(expected)
    const deadline = deadlineOf(options, ATTEMPT)
    assertOpen(this.#region)
    return this.#waiters.waitSync(this.#conditionOf(expected), deadline)
  }

  /**
   * As waitWhileSync, without blocking the event loop.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(futex())
   * await root.waitWhile(0, { timeoutMs: 5 }) // false
   * ```
   *
   * @throws AbortError when the signal aborts. Errors of waitWhileSync
   */
  waitWhile(expected: number, options?: UntimedOptions): Promise<true>
  waitWhile(expected: number, options: WaitOptions): Promise<boolean>
  async waitWhile(expected: number, options?: WaitOptions): Promise<boolean> {
    assertWord(expected)
    const deadline = deadlineOf(options, ATTEMPT)
    const signal = signalOf(options, ATTEMPT)
    assertOpen(this.#region)
    return this.#waiters.wait(this.#conditionOf(expected), deadline, signal)
  }

  /**
   * Wakes one waiter, or more. Call it after changing the value.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(futex())
   * root.value = 1
   * root.notifyOne()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  notifyOne(): void {
    assertOpen(this.#region)
    this.#waiters.notifyOne()
  }

  /**
   * Wakes all waiters. Call it after changing the value.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(futex())
   * root.value = 1
   * root.notifyAll()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  notifyAll(): void {
    assertOpen(this.#region)
    this.#waiters.notifyAll()
  }

  /**
   * For waitAny: ready once the value is another than `expected`.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(futex())
   * await waitAny([root.otherThan(0)], { timeoutMs: 5 }) // []
   * ```
   */
  otherThan(expected: number): Waitable {
    assertWord(expected)
    return { [WAITABLE]: (): WaitFor => ({ point: this.#waiters, condition: this.#conditionOf(expected) }) }
  }

  // A futex is a field, so it has no other base class; see Awaitable.

  /**
   * Pending promises of this futex keep the process running; this is the default.
   *
   * @example
   * ```ts
   * HeapRegion.create(futex()).root.unref().ref()
   * ```
   */
  ref(): this {
    this.#waiters.setRef(true)
    return this
  }

  /**
   * Pending promises of this futex no longer keep the process running.
   *
   * @example
   * ```ts
   * HeapRegion.create(futex()).root.unref()
   * ```
   */
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

/** No word ever equals anything else: a wait would end at once, and a loop around it would never sleep. */
function assertWord(expected: unknown): void {
  if (typeof expected === 'number' && (expected | 0) === expected) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${ATTEMPT}: expected is ${inWords(expected)}, which no word can hold. Give a 32-bit integer, from ${-(2 ** 31)} to ${2 ** 31 - 1}.`,
  )
}
