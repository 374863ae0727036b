import { Int32Field, type Layout, type Region } from '@isthmus/sync'
import { alignUp } from '@isthmus/sync/internal'

/** Words with plain accesses only, which a lock permits: without the lock, each access is a data race. */
export class PlainWords {
  readonly #words: Int32Array
  readonly #first: number

  constructor(region: Region, byteOffset: number) {
    this.#words = region.words
    this.#first = byteOffset >>> 2
  }

  get(at = 0): number {
    return this.#words[this.#first + at]
  }

  set(value: number, at = 0): void {
    this.#words[this.#first + at] = value
  }

  increment(at = 0): number {
    const value = this.get(at) + 1
    this.set(value, at)
    return value
  }
}

export interface Guarded<T> {
  readonly inner: T
  /** A word for a step (an Atomics operation) of the scenario itself. */
  readonly step: Int32Field
  readonly plain: PlainWords
}

/** Where the plain words of `guarded` begin, for the scenario's plainFromByteOffset. */
export function plainOffsetOf(inner: Layout<unknown>): number {
  return stepOffsetOf(inner) + 4
}

function stepOffsetOf(inner: Layout<unknown>): number {
  return alignUp(inner.byteLength, 4)
}

/** A structure, followed by plain words that it guards. */
export function guarded<T>(inner: Layout<T>, plainCount = 1): Layout<Guarded<T>> {
  const plainOffset = plainOffsetOf(inner)
  return {
    byteLength: plainOffset + 4 * plainCount,
    byteAlignment: inner.byteAlignment,
    signature: `interleaver-guarded@1(${inner.signature},${plainCount})`,
    initialize: (region, byteOffset) => inner.initialize(region, byteOffset),
    attach: (region, byteOffset) => ({
      inner: inner.attach(region, byteOffset),
      step: new Int32Field(region, byteOffset + stepOffsetOf(inner)),
      plain: new PlainWords(region, byteOffset + plainOffset),
    }),
    sweep: (region, byteOffset, deadPeer) => inner.sweep(region, byteOffset, deadPeer),
  }
}
