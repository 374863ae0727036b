import { IsthmusTypeError, inWords } from '../errors.js'

/**
 * A peer is one attachment of one thread to one region. Its id is its slot in the peers table, and the generation of that
 * slot.
 *
 * ```
 *  31   29 28                     7 6          0
 * +-------+------------------------+------------+
 * |   0   |  generation (22 bits)  |  slot (7)  |
 * +-------+------------------------+------------+
 * ```
 *
 * Generations start at 1, so no id is 0, and a word can use 0 for "no peer". The three highest bits are free for flags of
 * the structure that stores an id in a word. A slot is swept of its last holder before its generation grows, so no id is
 * given out a second time while a word still contains it.
 */
export type PeerId = number & { readonly peerId: unique symbol }

/** How many attachments one region can have at a time. It is part of the format: structures have words for each slot. */
export const MAX_PEERS = 128

const SLOT_BITS = 7
const SLOT_MASK = (1 << SLOT_BITS) - 1
const GENERATION_MASK = (1 << 22) - 1

export function peerId(slot: number, generation: number): PeerId {
  return ((generation << SLOT_BITS) | slot) as PeerId
}

export function slotOf(peer: PeerId): number {
  return peer & SLOT_MASK
}

export function generationOf(peer: PeerId): number {
  return peer >>> SLOT_BITS
}

/** The generation after this one; 0 is skipped. */
export function nextGeneration(generation: number): number {
  return (generation + 1) & GENERATION_MASK || 1
}

/**
 * Checks what callers without types pass.
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function assertPeer(peer: unknown, attempt: string): void {
  if (typeof peer === 'number') return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: the peer is ${inWords(peer)}. Give a peer id, such as region.peers.self of the other attachment.`,
  )
}
