import type { Layout } from '@isthmus/sync'

const WORDS = 16_384

/**
 * The segment that tests create, open and remove. Initialising it takes a while, so that a kill can hit it half-way.
 * Its words: how often it was initialised, by which process, two for the tests, then a pattern up to the end.
 */
export const subject: Layout<Int32Array> = {
  byteLength: WORDS * 4,
  byteAlignment: 4,
  signature: 'test-subject@1',
  initialize({ words }, byteOffset) {
    const first = byteOffset / 4
    Atomics.add(words, first, 1)
    words[first + 1] = process.pid
    for (let word = 4; word < WORDS; word++) words[first + word] = patternAt(word)
  },
  attach: ({ words }, byteOffset) => words.subarray(byteOffset / 4, byteOffset / 4 + WORDS),
  sweep() {},
}

export function isWhole(root: Int32Array): boolean {
  return root[0] === 1 && root.every((value, word) => word < 4 || value === patternAt(word))
}

/** Where racers start together: a word for each of them. */
export const track: Layout<Int32Array> = {
  byteLength: 16 * 4,
  byteAlignment: 4,
  signature: 'test-track@1',
  initialize() {},
  attach: ({ words }, byteOffset) => words.subarray(byteOffset / 4, byteOffset / 4 + 16),
  sweep() {},
}

export type RaceAction = 'create' | 'open' | 'openOrCreate' | 'unlink' | 'prune'

/** What a racer (one of several agents that act at the same time) found in one round. */
export interface Outcome {
  /** The id of the segment that existed before the round, if this racer had made it. */
  readonly oldId: string | undefined
  /** The code of the error, if there was one. */
  readonly code: string | undefined
  /** To which file the name led right after this racer's action, and after all racers had acted. */
  readonly namedInodes: readonly (number | undefined)[]
  /** The id of the segment that the racer has open. */
  readonly segmentId?: string
  readonly inode?: number
  readonly initialisations?: number
  readonly creator?: number
  readonly isWhole?: boolean
}

function patternAt(word: number): number {
  return Math.imul(word, 0x9e3779b1)
}
