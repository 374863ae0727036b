import { randomWord } from '../host/host.js'
import type { LoopId } from './peers.js'

/**
 * The loop ids that this thread has written into peer slots, through all copies of this package in it. With them a thread
 * that is about to block finds out whether it would wait for itself. On heap regions a thread has one loop id. On segments
 * the FIFOs of a thread are named by its loop id: there each copy of the package has its own, with others for segment
 * files and after a change of user.
 */
class OwnLoops {
  /** The loop id in the slots of heap regions. */
  readonly heapLoopId: LoopId = [randomWord(), randomWord() || 1]
  /** How many attachments have each loop id. */
  readonly #counts = new Map<string, number>()

  add(loopId: LoopId): void {
    const key = keyOf(loopId)
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  remove(loopId: LoopId): void {
    const key = keyOf(loopId)
    const count = (this.#counts.get(key) ?? 0) - 1
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
  }

  has(loopId: LoopId): boolean {
    return this.#counts.has(keyOf(loopId))
  }
}

function keyOf([low, high]: LoopId): string {
  return `${low}:${high}`
}

const KEY = Symbol.for('isthmus.own-loops@1')
const shared = globalThis as { [KEY]?: OwnLoops }

/** One for each thread. */
export const ownLoops: OwnLoops = shared[KEY] ?? new OwnLoops()
shared[KEY] = ownLoops
