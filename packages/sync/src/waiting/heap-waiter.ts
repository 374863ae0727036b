import { IsthmusError } from '../errors.js'
import { BELL_WORD, PEER_SLOT_BYTES } from '../peers/layout.js'
import { type PeerId, slotOf } from '../peers/peer-id.js'
import { eventLoop } from './event-loop.js'
import type { Waiter } from './waiter.js'

/**
 * Waits within one process or browser page, through `Atomics.wait` and `Atomics.waitAsync` on a SharedArrayBuffer. The
 * bell of an agent is a word in its peer slot that grows with every ring.
 */
export class HeapWaiter implements Waiter {
  readonly bellMs = 0.05
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #peersWord: number
  #ownSlot = -1
  #isHearing = false

  constructor(words: Int32Array<SharedArrayBuffer>, peersByteOffset: number) {
    this.#words = words
    this.#peersWord = peersByteOffset >>> 2
  }

  waitSync(index: number, expected: number, timeoutMs: number): void {
    try {
      Atomics.wait(this.#words, index, expected, timeoutMs)
    } catch (cause) {
      // The only thread that may not block is a page's own.
      throw new IsthmusError(
        'ERR_ISTHMUS_UNSUPPORTED',
        'Blocking this thread: the runtime does not allow it here. Wait in a worker.',
        { cause },
      )
    }
  }

  wake(index: number, count: number): number {
    return Atomics.notify(this.#words, index, count)
  }

  hear(): void {
    if (this.#ownSlot < 0 || this.#isHearing) return
    if (Atomics.waitAsync === undefined) {
      throw new IsthmusError(
        'ERR_ISTHMUS_UNSUPPORTED',
        'Waiting on an event loop: this runtime has no Atomics.waitAsync. Use the Sync form in a worker.',
      )
    }
    const index = this.#bellOf(this.#ownSlot)
    const outcome = Atomics.waitAsync(this.#words, index, Atomics.load(this.#words, index))
    if (!outcome.async) {
      // Somebody rang between the load and the wait.
      eventLoop.lookSoon()
      this.hear()
      return
    }
    this.#isHearing = true
    // It never rejects. It cannot be cancelled either: where nobody waits any more, it is a look at nothing.
    void outcome.value.then(() => {
      this.#isHearing = false
      // First the ear, then the look: what rings in between rings again.
      this.hear()
      eventLoop.lookAround()
    })
  }

  ring(peer: PeerId): boolean {
    const index = this.#bellOf(slotOf(peer))
    Atomics.add(this.#words, index, 1)
    return Atomics.notify(this.#words, index) > 0
  }

  /** A death here is declared, and whoever declares it rings. */
  watch(): boolean {
    return true
  }

  /** From now on this agent's bell is the one of its slot. */
  attach(self: PeerId): void {
    this.#ownSlot = slotOf(self)
  }

  /** Ends what `hear` began. */
  detach(): void {
    const slot = this.#ownSlot
    this.#ownSlot = -1
    if (this.#isHearing) Atomics.notify(this.#words, this.#bellOf(slot))
  }

  #bellOf(slot: number): number {
    return this.#peersWord + (slot * PEER_SLOT_BYTES) / 4 + BELL_WORD
  }
}
