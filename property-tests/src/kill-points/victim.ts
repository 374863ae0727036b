import { Segment } from '@isthmus/shm-posix'
import type { Layout } from '@isthmus/sync'
import { nap } from './board.js'
import type { Effects } from './effects.js'

const PATIENCE_MS = 3_000
/** Of those that tell about the victim. */
const HOLDING_WORD = 3

/** What a case finds in the process that is to be killed. */
export class Victim<T> {
  /** Of the segment. */
  readonly name: string
  readonly layout: Layout<T>
  #segment: Segment<T> | undefined
  #mayBegin: () => boolean = () => true
  readonly #effects: Effects

  constructor(name: string, layout: Layout<T>, effects: Effects) {
    this.name = name
    this.layout = layout
    this.#effects = effects
  }

  /** For a predecessor that does not come through: it ends before this effect of those whose text contains that. */
  dieBefore(effect: number, onlyWith: string): void {
    this.#effects.arm({ effect, side: 'before' }, onlyWith)
  }

  attach(): void {
    this.#segment = Segment.open(this.name, this.layout)
  }

  get segment(): Segment<T> {
    if (this.#segment === undefined) throw new Error('This victim is not attached')
    return this.#segment
  }

  get root(): T {
    return this.segment.root
  }

  /**
   * Says what it has now, and dies here as well: an effect while it has it. From then on, until `has` is called again,
   * nobody can say what it has.
   */
  has(what: number, told: Int32Array): void {
    told[0] = what
    Atomics.add(told, HOLDING_WORD, 1)
    told[0] = 0
  }

  /** The operation begins once this is true: when the survivor sleeps, for example. */
  beginsWhen(mayBegin: () => boolean): void {
    this.#mayBegin = mayBegin
  }

  /** @internal */
  awaitBeginning(): void {
    const deadline = performance.now() + PATIENCE_MS
    while (!this.#mayBegin()) {
      if (performance.now() > deadline) throw new Error('What the victim waits for before it begins never came')
      nap()
    }
  }
}
