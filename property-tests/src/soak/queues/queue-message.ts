import { contentOf, scrambled } from '../../harness/messages.js'

export const BLOCK_BYTES = 256
/** The number of the message. */
const HEADER_BYTES = 4
const OFFSETS = 1 << 12
const pool = contentOf(3, 1, OFFSETS + BLOCK_BYTES)

/** Mostly small, so that several fit into a block; some as large as a block. */
function byteLengthOf(number: number): number {
  const dice = scrambled(number)
  if (dice % 16 === 0) return BLOCK_BYTES
  return HEADER_BYTES + ((dice >>> 4) % 60)
}

export function messageOf(number: number): Uint8Array {
  const offset = scrambled(number * 31) % OFFSETS
  const bytes = pool.slice(offset, offset + byteLengthOf(number))
  new DataView(bytes.buffer).setUint32(0, number, true)
  return bytes
}

/** The number of a message. Throws if it is damaged. */
export function numberIn(message: Uint8Array): number {
  const number = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0, true)
  if (Buffer.compare(message, messageOf(number)) !== 0) {
    throw new Error(`A damaged message: ${Buffer.from(message).toString('hex')} is not message ${number}`)
  }
  return number
}
