import { MAX_PEERS } from '@isthmus/sync/internal'
import type { HostileMemory } from './memory.js'
import type { Random } from './random.js'

const BOUNDARIES = [0, 1, -1, 2, 7, 8, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1, 0x7ffffff8, 0x10000000, 0x1fffffff]
const FLAGS = [1 << 29, 1 << 30, 1 << 31, 3 << 29, 7 << 29]

/** A value for a word: at a boundary (where checks are wrong by one), one that looks right, or random. */
export function hostileWord(
  index: number,
  { words, structure, peers, peerIds }: HostileMemory,
  random: Random,
): number {
  const before = words[index]
  switch (random.below(14)) {
    case 0:
      return random.word()
    case 1:
      return random.of(BOUNDARIES)
    case 2:
      return (1 << random.below(32)) - random.below(3)
    case 3:
    case 4:
      return before ^ (1 << random.below(32))
    case 5:
      return before + random.of([-8, 8, -4, 4, -1, 1, -16, 16, -64, 64, -256, 256, -4096, 4096])
    case 6:
      return before + 8 * (random.below(129) - 64)
    // Copies of words that stand elsewhere.
    case 7:
      return words[structure.from + random.below(structure.to - structure.from)]
    case 8:
      return words[peers.from + random.below(peers.to - peers.from)]
    case 9:
      return random.of(peerIds) | (random.isOneIn(2) ? random.of(FLAGS) : 0)
    // The id of another slot, or of another generation of the same slot.
    case 10:
      return (random.of(peerIds) + random.of([1, -1, 128, -128, MAX_PEERS * 128, 1 << 28])) | 0
    // A role word: any state, any slot, an epoch near the present one.
    case 11:
      return (random.below(4) << 9) | (random.below(4) << 7) | (random.of(peerIds) & 127)
    // A slot's state word, and the mark of a sweeper.
    case 12:
      return (random.below(4) << 3) | random.below(4)
    default:
      return -1 - random.of([0, 1, 2, 127, 128, 1000, 1 << 20, 2 ** 31 - 1])
  }
}

/**
 * Which word is overwritten next: mostly one of the structure, often one of the peers table, rarely one of the header.
 */
export function hostilePlace({ structure, peers, header, peerIds }: HostileMemory, random: Random): number {
  const dice = random.below(20)
  if (dice === 0) return header.from + random.below(header.to - header.from)
  if (dice <= 4) {
    // The slots in use and the next free ones matter most, and the first seven words of a slot.
    const slot = random.isOneIn(4) ? random.below(MAX_PEERS) : random.below(peerIds.length + 2)
    return peers.from + slot * 16 + random.below(8)
  }
  return structure.from + random.below(structure.to - structure.from)
}
