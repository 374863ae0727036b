import { contentOf, scrambled } from '../../harness/messages.js'
import type { Place } from './ring-ledger.js'

const OFFSETS = 1 << 15
const BYTES_MAX = 1 << 16
/** Every content is a part of this: a child that lives for milliseconds has no time to compute one. */
const pool = contentOf(1, 1, OFFSETS + BYTES_MAX)

/** The length of a message's header, its producer and its number. A shorter message does not contain them. */
export const HEADER_BYTES = 8

/** Together with a message's place, this determines its content. */
export interface Series {
  readonly ring: number
  readonly capacityBytes: number
}

/**
 * The size of a message: from nothing to three times the ring, mostly small. A short message is never a producer's
 * first, and never follows a short one, so that the message before identifies it.
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

/** The place that a message contains; undefined for a short one. */
export function placeIn(message: Uint8Array): Place | undefined {
  if (message.byteLength < HEADER_BYTES) return undefined
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  return { incarnation: view.getUint32(0, true), number: view.getUint32(4, true) }
}
