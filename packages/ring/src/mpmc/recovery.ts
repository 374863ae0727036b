import type { QueueGeometry } from './geometry.js'
import {
  awayFrom,
  FREE,
  HOLD_MASK,
  headOffsetOf,
  KIND_WORD,
  kindIn,
  LEASE_WORD,
  laneIn,
  nextInstance,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  PIPE,
  POSITION_WORD,
  PUSHABLE,
  SENDER_ABORTED,
  SENDER_GONE,
  tailOffsetOf,
} from './layout.js'

/**
 * After a crash of the machine, when pages of different age may have reached the disk: makes the queue valid again. No peer is
 * attached.
 *
 * 1. In each lane, from the head hint on: keep the messages whose slot, position, lane and state agree, as long as they follow
 *    each other. Messages that were taken are passed over.
 * 2. Make all other slots free for the positions after them, and free all other blocks. An END is dropped: the queue is open.
 */
export function recoverQueue(geometry: QueueGeometry): void {
  const { region, byteOffset, blocks, slotCount, slotsOffset, blocksOffset, strideBytes, lanes, deadLane } = geometry
  const { words } = region
  const cellWordOf = (block: number) => (byteOffset + blocksOffset + block * strideBytes) >>> 2
  const isKept = new Uint8Array(blocks)
  for (let lane = 0; lane < lanes + (deadLane === undefined ? 0 : 1); lane++) {
    const slotWordOf = (position: number) =>
      (byteOffset + slotsOffset + (lane * slotCount + (position & (slotCount - 1))) * 4) >>> 2
    const headWord = (byteOffset + headOffsetOf(lane)) >>> 2
    const head = words[headWord]
    let position = head
    let first: number | undefined
    for (let step = 0; step < slotCount; step++, position = (position + 1) | 0) {
      const word = words[slotWordOf(position)]
      const block = word & (slotCount - 1)
      if ((word & -slotCount) !== ((position + slotCount) & -slotCount) || block >= blocks) break
      const cellWord = cellWordOf(block)
      const isThere =
        (words[cellWord] & PUSHABLE) !== 0 &&
        words[cellWord + POSITION_WORD] === position &&
        laneIn(words[cellWord + KIND_WORD]) === lane &&
        isKept[block] === 0
      if (isThere) {
        first ??= position
        isKept[block] = 1
        // Its sender is gone. It stays in its place, and its receiver passes over it.
        if (kindIn(words[cellWord + KIND_WORD]) === PIPE) words[cellWord + LEASE_WORD] |= SENDER_GONE | SENDER_ABORTED
      } else if (first !== undefined) {
        break
      }
    }
    // From here on, all slots are free for the next lap.
    for (let step = 0, free = position; step < slotCount - ((position - (first ?? position)) | 0); step++) {
      words[slotWordOf(free)] = free & -slotCount
      free = (free + 1) | 0
    }
    words[headWord] = first ?? position
    Atomics.store(words, (byteOffset + tailOffsetOf(lane)) >>> 2, position)
  }
  for (let block = 0; block < blocks; block++) {
    const cellWord = cellWordOf(block)
    if (isKept[block] !== 0 || (words[cellWord] & HOLD_MASK) === FREE) continue
    const head = words[(byteOffset + headOffsetOf(Math.min(laneIn(words[cellWord + KIND_WORD]), lanes - 1))) >>> 2]
    words[cellWord + POSITION_WORD] = awayFrom(head)
    words[cellWord] = nextInstance(words[cellWord], FREE)
  }
  words[(byteOffset + ORPHANS_SEEN_OFFSET) >>> 2] = words[(byteOffset + ORPHANS_LEFT_OFFSET) >>> 2]
}
