import { randomWord } from '../host/host.js'
import type { LoopId } from './peers.js'

/**
 * The loop ids under which this thread stands in peer slots, the same for every copy of this package in it: a thread that is
 * about to block finds out whether it would wait for itself. On heap regions it has one. On segments each copy has its own,
 * and others for segment files and after a change of user, since its FIFOs are named by it.
 */
class OwnLoops {
  /** For the slots of heap regions. */
  readonly heapLoopId: LoopId = [randomWord(), randomWord() || 1]
  /** How many attachments have each. */
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

export const ownLoops: OwnLoops = shared[KEY] ?? new OwnLoops()
shared[KEY] = ownLoops
