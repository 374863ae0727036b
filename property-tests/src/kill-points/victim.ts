import { Segment } from '@isthmus/shm-posix'
import type { Layout } from '@isthmus/sync'
import { nap } from './board.js'
import type { Effects } from './effects.js'

const PATIENCE_MS = 3_000
/** Which of the victim's words counts how often it has said what it holds. */
const HOLDING_WORD = 3

/** What the functions of a scenario use in the process that is killed. */
export class Victim<T> {
  /** The segment's name. */
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

  /** For a predecessor that dies on the way: before effect number `effect` of those whose text contains `onlyWith`. */
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
   * States what the victim holds now, and makes this moment a kill point of its own. After the call, until `has` is
   * called again, it is unknown what the victim holds.
   */
  has(what: number, told: Int32Array): void {
    told[0] = what
    Atomics.add(told, HOLDING_WORD, 1)
    told[0] = 0
  }

  /** The operation begins once this is true: for example once the survivor sleeps. */
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
