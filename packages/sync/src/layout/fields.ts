import { IsthmusRangeError, IsthmusTypeError, inWords } from '../errors.js'
import { assertOpen, type Region } from '../region/region.js'
import type { Layout } from './layout.js'

/**
 * A signed 32-bit word. Every access is atomic. After `close` every access throws `ERR_ISTHMUS_CLOSED`; a value that is no
 * number is refused, `ERR_ISTHMUS_INVALID_ARGUMENT`. The same holds for the other fields.
 */
export class Int32Field {
  readonly #region: Region
  readonly #index: number

  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#index = byteOffset >>> 2
  }

  get value(): number {
    return Atomics.load(assertOpen(this.#region).words, this.#index)
  }

  set value(value: number) {
    if (typeof value !== 'number') throw noNumberError(value)
    Atomics.store(assertOpen(this.#region).words, this.#index, value)
  }

  /**
   * Adds, and returns the value before. Wraps at 32 bits.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i32())
   * root.add(5) // 0
   * root.value // 5
   * ```
   */
  add(amount: number): number {
    if (typeof amount !== 'number') throw noNumberError(amount)
    return Atomics.add(assertOpen(this.#region).words, this.#index, amount)
  }

  /**
   * Stores, and returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i32())
   * root.exchange(5) // 0
   * root.value // 5
   * ```
   */
  exchange(value: number): number {
    if (typeof value !== 'number') throw noNumberError(value)
    return Atomics.exchange(assertOpen(this.#region).words, this.#index, value)
  }

  /**
   * Stores `replacement` if the value is `expected`; returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i32())
   * root.compareExchange(0, 5) // 0: stored
   * root.compareExchange(0, 7) // 5: not stored
   * ```
   */
  compareExchange(expected: number, replacement: number): number {
    if (typeof expected !== 'number') throw noNumberError(expected)
    if (typeof replacement !== 'number') throw noNumberError(replacement)
    return Atomics.compareExchange(assertOpen(this.#region).words, this.#index, expected, replacement)
  }
}

/** An unsigned 32-bit word. Every access is atomic. */
export class Uint32Field {
  readonly #word: Int32Field

  constructor(region: Region, byteOffset: number) {
    this.#word = new Int32Field(region, byteOffset)
  }

  get value(): number {
    return this.#word.value >>> 0
  }

  set value(value: number) {
    this.#word.value = value
  }

  /**
   * Adds, and returns the value before. Wraps at 32 bits.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(u32())
   * root.add(5) // 0
   * root.value // 5
   * ```
   */
  add(amount: number): number {
    return this.#word.add(amount) >>> 0
  }

  /**
   * Stores, and returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(u32())
   * root.exchange(5) // 0
   * root.value // 5
   * ```
   */
  exchange(value: number): number {
    return this.#word.exchange(value) >>> 0
  }

  /**
   * Stores `replacement` if the value is `expected`; returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(u32())
   * root.compareExchange(0, 5) // 0: stored
   * root.compareExchange(0, 7) // 5: not stored
   * ```
   */
  compareExchange(expected: number, replacement: number): number {
    return this.#word.compareExchange(expected, replacement) >>> 0
  }
}

/** A signed 64-bit integer as a BigInt. Every access is atomic. */
export class Int64Field {
  readonly #region: Region
  readonly #cell: BigInt64Array

  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#cell = new BigInt64Array(region.words.buffer, region.words.byteOffset + byteOffset, 1)
  }

  get value(): bigint {
    assertOpen(this.#region)
    return Atomics.load(this.#cell, 0)
  }

  set value(value: bigint) {
    if (typeof value !== 'bigint') throw noBigIntError(value)
    assertOpen(this.#region)
    Atomics.store(this.#cell, 0, value)
  }

  /**
   * Adds, and returns the value before. Wraps at 64 bits.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i64())
   * root.add(5n) // 0n
   * root.value // 5n
   * ```
   */
  add(amount: bigint): bigint {
    if (typeof amount !== 'bigint') throw noBigIntError(amount)
    assertOpen(this.#region)
    return Atomics.add(this.#cell, 0, amount)
  }

  /**
   * Stores, and returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i64())
   * root.exchange(5n) // 0n
   * root.value // 5n
   * ```
   */
  exchange(value: bigint): bigint {
    if (typeof value !== 'bigint') throw noBigIntError(value)
    assertOpen(this.#region)
    return Atomics.exchange(this.#cell, 0, value)
  }

  /**
   * Stores `replacement` if the value is `expected`; returns the value before.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(i64())
   * root.compareExchange(0n, 5n) // 0n: stored
   * root.compareExchange(0n, 7n) // 5n: not stored
   * ```
   */
  compareExchange(expected: bigint, replacement: bigint): bigint {
    if (typeof expected !== 'bigint') throw noBigIntError(expected)
    if (typeof replacement !== 'bigint') throw noBigIntError(replacement)
    assertOpen(this.#region)
    return Atomics.compareExchange(this.#cell, 0, expected, replacement)
  }
}

/**
 * A 64-bit floating-point number. JavaScript has no atomics for it: an access is one machine instruction on x64 and
 * arm64, but orders no other access. If its value belongs together with other words, protect them with a lock.
 */
export class Float64Field {
  readonly #region: Region
  readonly #cell: Float64Array

  constructor(region: Region, byteOffset: number) {
    this.#region = region
    this.#cell = new Float64Array(region.words.buffer, region.words.byteOffset + byteOffset, 1)
  }

  get value(): number {
    assertOpen(this.#region)
    return this.#cell[0]
  }

  set value(value: number) {
    if (typeof value !== 'number') throw noNumberError(value)
    assertOpen(this.#region)
    this.#cell[0] = value
  }
}

/**
 * A signed 32-bit word, 0 at first.
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(i32())
 * root.value = -5
 * ```
 */
export function i32(): Layout<Int32Field> {
  return plain('i32', 4, 4, (region, byteOffset) => new Int32Field(region, byteOffset))
}

/**
 * An unsigned 32-bit word, 0 at first.
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(u32())
 * root.value = -1
 * root.value // 4294967295
 * ```
 */
export function u32(): Layout<Uint32Field> {
  return plain('u32', 4, 4, (region, byteOffset) => new Uint32Field(region, byteOffset))
}

/**
 * A signed 64-bit integer, 0n at first.
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(i64())
 * root.value = 5n
 * ```
 */
export function i64(): Layout<Int64Field> {
  return plain('i64', 8, 8, (region, byteOffset) => new Int64Field(region, byteOffset))
}

/**
 * A 64-bit floating-point number, 0 at first.
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(f64())
 * root.value = 12.5
 * ```
 */
export function f64(): Layout<Float64Field> {
  return plain('f64', 8, 8, (region, byteOffset) => new Float64Field(region, byteOffset))
}

/**
 * `byteLength` bytes, 0 at first, as a Uint8Array over the region. Other agents may change them at any time: copy what you
 * decode. On a segment the array reads zeros after `close`.
 *
 * @example
 * ```ts
 * const { title } = HeapRegion.create(struct({ title: bytes(16) })).root
 * title.set(new TextEncoder().encode('espresso'))
 * title.byteLength // 16
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function bytes(byteLength: number): Layout<Uint8Array> {
  assertCount('bytes', byteLength)
  return plain(`bytes(${byteLength})`, byteLength, 8, (region, byteOffset) => {
    return keepingRegion(region, new Uint8Array(region.bytes.buffer, region.bytes.byteOffset + byteOffset, byteLength))
  })
}

/**
 * `length` signed 32-bit words, 0 at first, as an Int32Array over the region, for Atomics. On a segment they read 0 after
 * `close`.
 *
 * @example
 * ```ts
 * const { root } = HeapRegion.create(words(4))
 * Atomics.add(root, 3, 5) // 0
 * ```
 *
 * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function words(length: number): Layout<Int32Array> {
  assertCount('words', length)
  return plain(`words(${length})`, length * 4, 8, (region, byteOffset) => {
    return keepingRegion(region, new Int32Array(region.words.buffer, region.words.byteOffset + byteOffset, length))
  })
}

const regionOfView = new WeakMap<ArrayBufferView, Region>()

/** Keeps the region attached as long as the program has the view: a region that is garbage-collected counts as closed. */
function keepingRegion<V extends ArrayBufferView>(region: Region, view: V): V {
  regionOfView.set(view, region)
  return view
}

/** A layout whose first state is zeroed memory, and of which a dead peer holds nothing. */
function plain<T>(
  signature: string,
  byteLength: number,
  byteAlignment: number,
  attach: (region: Region, byteOffset: number) => T,
): Layout<T> {
  return { signature, byteLength, byteAlignment, initialize() {}, attach, sweep() {} }
}

function assertCount(what: string, count: number): void {
  if (Number.isSafeInteger(count) && count > 0) return
  throw new IsthmusRangeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Making ${what}(n): n is ${inWords(count)}. Give a positive integer.`,
  )
}

function noNumberError(value: unknown): IsthmusTypeError {
  return new IsthmusTypeError('ERR_ISTHMUS_INVALID_ARGUMENT', `Changing a field: got ${inWords(value)}. Give a number.`)
}

function noBigIntError(value: unknown): IsthmusTypeError {
  return new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Changing a 64-bit field: got ${inWords(value)}. Give a BigInt, such as 5n.`,
  )
}
