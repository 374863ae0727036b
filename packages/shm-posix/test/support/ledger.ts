import { type Layout, struct, u32 } from '@isthmus/sync'

/** Enough for tests that need nothing special. */
export const counter = struct({ count: u32(), other: u32() })

const WORDS = ['written', 'read', 'holder', 'sweeps', 'recoveries'] as const
type Words = { [Word in (typeof WORDS)[number]]: number }

/** A structure that shows what was done to it. It has a role that one peer holds, and a backlog. */
export const ledger: Layout<Words> = {
  byteLength: 5 * 4,
  byteAlignment: 4,
  signature: 'test-ledger@1',
  backlog: [[0, 4]],
  initialize() {},
  attach({ words }, byteOffset) {
    const ledger = {} as Words
    WORDS.forEach((word, at) => {
      Object.defineProperty(ledger, word, {
        get: () => Atomics.load(words, byteOffset / 4 + at),
        set: (value: number) => Atomics.store(words, byteOffset / 4 + at, value),
      })
    })
    return ledger
  },
  sweep({ words }, byteOffset, deadPeer) {
    if (Atomics.compareExchange(words, byteOffset / 4 + 2, deadPeer, 0) === deadPeer) {
      Atomics.add(words, byteOffset / 4 + 3, 1)
    }
  },
  recover({ words }, byteOffset) {
    Atomics.add(words, byteOffset / 4 + 4, 1)
  },
}
