import { contentOf, scrambled } from '../../harness/messages.js'
import type { Place } from './ring-ledger.js'

const OFFSETS = 1 << 15
const BYTES_MAX = 1 << 16
/** Every content is a piece of this: whoever is killed after milliseconds has no time to make one. */
const pool = contentOf(1, 1, OFFSETS + BYTES_MAX)

/** In front of a message: its producer and its number. One that is shorter does not say which it is. */
export const HEADER_BYTES = 8

/** With a message's place, everything that decides what it has to be. */
export interface Series {
  readonly ring: number
  readonly capacityBytes: number
}

/**
 * Of any size, from nothing to three times the ring, most of them small. Short ones are never the first of a producer, and
 * never two in a row, so that the one before says which they are.
 */
export function byteLengthOf({ ring, capacityBytes }: Series, { incarnation, number }: Place): number {
  const dice = scrambled(ring * 131 + incarnation * 7919 + number * 104729)
  if (number % 4 === 2) return dice % 3 === 0 ? 0 : dice % HEADER_BYTES
  if (dice % 8 === 0) return HEADER_BYTES + ((dice >>> 3) % (capacityBytes * 3))
  return HEADER_BYTES + ((dice >>> 3) % Math.min(100, capacityBytes / 2 - 16))
}

export function messageOf(series: Series, place: Place): Uint8Array {
  const byteLength = byteLengthOf(series, place)
  const offset = scrambled(series.ring + place.incarnation * 613 + place.number * 31) % OFFSETS
  const bytes = pool.slice(offset, offset + byteLength)
  if (byteLength < HEADER_BYTES) return bytes
  const view = new DataView(bytes.buffer)
  view.setUint32(0, place.incarnation, true)
  view.setUint32(4, place.number, true)
  return bytes
}

export function isShort(series: Series, place: Place): boolean {
  return byteLengthOf(series, place) < HEADER_BYTES
}

/** What a message says about itself; undefined for a short one. */
export function placeIn(message: Uint8Array): Place | undefined {
  if (message.byteLength < HEADER_BYTES) return undefined
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  return { incarnation: view.getUint32(0, true), number: view.getUint32(4, true) }
}
