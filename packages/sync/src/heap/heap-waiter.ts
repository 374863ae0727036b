import { IsthmusError } from '../errors.js'
import { HINT_WORDS, HINTS_WORD, PEER_SLOT_BYTES, WAKE_WORD } from '../peers/layout.js'
import { type PeerId, slotOf } from '../peers/peer-id.js'
import type { Waiter, Watch } from '../region/waiter.js'
import { pendingWaits } from '../waiting/pending-waits.js'

/**
 * Waits within one process or browser page, through `Atomics.wait` and `Atomics.waitAsync` on a SharedArrayBuffer. Each
 * peer slot has a wake word, which grows with every wake-up of its holder's event loop. Beside it, a bitmap of hints says
 * at which wait points to poll: one bit for all wait points whose words have the same hash (see peers/layout.ts).
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
      // The main thread of a page is the only one that may not block.
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
      // A wake-up came between the load and the wait.
      pendingWaits.schedulePoll()
      this.listen()
      return
    }
    this.#isListening = true
    // The promise never rejects. It cannot be cancelled either: if nothing waits any more, the wake-up polls nothing.
    void outcome.value.then(() => {
      this.#isListening = false
      // Listen before polling, so that a wake-up that comes in between is heard.
      this.listen()
      this.#pollAsHinted()
    })
  }

  wakeLoop(peer: PeerId, word?: number): boolean {
    const wakeWord = this.#wakeWordOf(slotOf(peer))
    const hints = wakeWord - WAKE_WORD + HINTS_WORD
    // SYNC hints visible to woken loop: they are set before the wake word grows
    if (word === undefined) {
      for (let group = 0; group < HINT_WORDS; group++) Atomics.store(this.#words, hints + group, ALL_HINTS)
    } else {
      const bit = bitOf(word)
      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))
    }
    Atomics.add(this.#words, wakeWord, 1)
    return Atomics.notify(this.#words, wakeWord) > 0
  }

  hintOf(word: number): number {
    return this.#firstHint + bitOf(word)
  }

  /** On a heap region a death is declared, and the declaring thread wakes all event loops. */
  watch(): Watch {
    return 'already'
  }

  /** From now on this agent's wake word is that of its slot. */
  attach(self: PeerId): void {
    this.#ownSlot = slotOf(self)
  }

  /** Ends what `listen` began. */
  detach(): void {
    const slot = this.#ownSlot
    this.#ownSlot = -1
    if (this.#isListening) Atomics.notify(this.#words, this.#wakeWordOf(slot))
  }

  #pollAsHinted(): void {
    if (this.#ownSlot < 0) return
    const hints = this.#wakeWordOf(this.#ownSlot) - WAKE_WORD + HINTS_WORD
    for (let group = 0; group < HINT_WORDS; group++) {
      // SYNC hints visible to woken loop: all bits of a word are taken at once
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

/** The words of wait points lie at regular distances, so a hash scatters them (Knuth's multiplicative hash). */
function bitOf(word: number): number {
  return Math.imul(word, 0x9e3779b1) >>> (32 - Math.log2(HINTS))
}

/** Hints of segments are 32-bit numbers. Those of heap regions lie above them, and differ for each attachment of this thread. */
let firstHint = 2 ** 32

function nextFirstHint(): number {
  firstHint += HINTS
  return firstHint
}
