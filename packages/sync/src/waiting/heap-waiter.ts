import { IsthmusError } from '../errors.js'
import { HINT_WORDS, HINTS_WORD, PEER_SLOT_BYTES, WAKE_WORD } from '../peers/layout.js'
import { type PeerId, slotOf } from '../peers/peer-id.js'
import { pendingWaits } from './pending-waits.js'
import type { Waiter, Watch } from './waiter.js'

/**
 * Waits within one process or browser page, through `Atomics.wait` and `Atomics.waitAsync` on a SharedArrayBuffer. The
 * bell of an agent is a word in its peer slot that grows with every ring. Beside it, a bitmap says at which wait points
 * to look, one bit for all words with the same hash.
 */
export class HeapWaiter implements Waiter {
  readonly wakeLatencyMs = 0.05
  readonly isUnreachable = false
  readonly #firstHint = nextFirstHint()
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #peersWord: number
  #ownSlot = -1
  #isListening = false

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

  wakeThreads(index: number, count: number): number {
    return Atomics.notify(this.#words, index, count)
  }

  listen(): void {
    if (this.#ownSlot < 0 || this.#isListening) return
    if (Atomics.waitAsync === undefined) {
      throw new IsthmusError(
        'ERR_ISTHMUS_UNSUPPORTED',
        'Waiting on an event loop: this runtime has no Atomics.waitAsync. Use the Sync form in a worker.',
      )
    }
    const index = this.#wakeWordOf(this.#ownSlot)
    const outcome = Atomics.waitAsync(this.#words, index, Atomics.load(this.#words, index))
    if (!outcome.async) {
      // Somebody rang between the load and the wait.
      pendingWaits.schedulePoll()
      this.listen()
      return
    }
    this.#isListening = true
    // It never rejects. It cannot be cancelled either: where nobody waits any more, it is a look at nothing.
    void outcome.value.then(() => {
      this.#isListening = false
      // First the ear, then the look: what rings in between rings again.
      this.listen()
      this.#pollAsHinted()
    })
  }

  wakeLoop(peer: PeerId, word?: number): boolean {
    const bell = this.#wakeWordOf(slotOf(peer))
    const hints = bell - WAKE_WORD + HINTS_WORD
    if (word === undefined) {
      for (let group = 0; group < HINT_WORDS; group++) Atomics.store(this.#words, hints + group, ALL_HINTS)
    } else {
      const bit = bitOf(word)
      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))
    }
    Atomics.add(this.#words, bell, 1)
    return Atomics.notify(this.#words, bell) > 0
  }

  hintOf(word: number): number {
    return this.#firstHint + bitOf(word)
  }

  /** A death here is declared, and the declaring thread rings. */
  watch(): Watch {
    return 'already'
  }

  /** From now on this agent's bell is the one of its slot. */
  attach(self: PeerId): void {
    this.#ownSlot = slotOf(self)
  }

  /** Ends what `hear` began. */
  detach(): void {
    const slot = this.#ownSlot
    this.#ownSlot = -1
    if (this.#isListening) Atomics.notify(this.#words, this.#wakeWordOf(slot))
  }

  #pollAsHinted(): void {
    if (this.#ownSlot < 0) return
    const hints = this.#wakeWordOf(this.#ownSlot) - WAKE_WORD + HINTS_WORD
    for (let group = 0; group < HINT_WORDS; group++) {
      for (let bits = Atomics.exchange(this.#words, hints + group, 0); bits !== 0; bits &= bits - 1) {
        pendingWaits.repoll(this.#firstHint + group * 32 + 31 - Math.clz32(bits & -bits))
      }
    }
  }

  #wakeWordOf(slot: number): number {
    return this.#peersWord + (slot * PEER_SLOT_BYTES) / 4 + WAKE_WORD
  }
}

const HINTS = HINT_WORDS * 32
const ALL_HINTS = -1

/** Words of wait points lie at regular distances, so they are scattered first (Knuth's multiplicative hash). */
function bitOf(word: number): number {
  return Math.imul(word, 0x9e3779b1) >>> (32 - Math.log2(HINTS))
}

/** Hints of segments are 32-bit numbers; these lie above them, and are others for each attachment of this thread. */
let firstHint = 2 ** 32

function nextFirstHint(): number {
  firstHint += HINTS
  return firstHint
}
