import { PEERS_BYTE_OFFSET } from '@isthmus/sync/internal'

/** A range of words: `from` is included, `to` is not. */
export interface WordRange {
  readonly from: number
  readonly to: number
}

/** What a hostile peer knows: where things lie in a region's words. */
export interface HostileMemory {
  readonly words: Int32Array
  /** The structure that is attacked. */
  readonly structure: WordRange
  readonly peers: WordRange
  readonly header: WordRange
  /** The ids of the peers that use the structure. */
  readonly peerIds: readonly number[]
}

export const HEADER: WordRange = { from: 0, to: PEERS_BYTE_OFFSET / 4 }

export interface Mutation {
  readonly index: number
  readonly before: number
  readonly after: number
}

/** Writes a word as a hostile peer would, and describes what it changed. */
export function write(words: Int32Array, index: number, after: number): Mutation {
  const before = Atomics.exchange(words, index, after)
  return { index, before, after: after | 0 }
}

export function mutationText({ index, before, after }: Mutation, { structure, peers }: HostileMemory): string {
  const place =
    index >= structure.from && index < structure.to
      ? `structure + ${(index - structure.from) * 4}`
      : index >= peers.from && index < peers.to
        ? `peer slot ${(index - peers.from) >> 4}, byte ${((index - peers.from) & 15) * 4}`
        : `header, byte ${index * 4}`
  return `${place}: ${hex(before)} -> ${hex(after)} (${after})`
}

function hex(word: number): string {
  return `0x${(word >>> 0).toString(16).padStart(8, '0')}`
}
