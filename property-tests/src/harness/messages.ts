import { crc32 } from 'node:zlib'

/** Numbers that look random and are the same in every agent. (Marsaglia's xorshift.) */
export function scrambled(seed: number): number {
  let x = (seed ^ 0x9e3779b9) | 1
  for (let round = 0; round < 3; round++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
  }
  return x >>> 0
}

/** The content of message `number`: every agent can compute what it must be. */
export function contentOf(seed: number, number: number, byteLength: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  let x = scrambled(seed * 31 + number)
  for (let at = 0; at < byteLength; at++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    bytes[at] = x >>> 24
  }
  return bytes
}

/** A message that contains its number. Sizes go up to three times the ring; most are small. */
export function numberedMessage(seed: number, number: number, capacityBytes: number): Uint8Array {
  const dice = scrambled(seed + number * 7919)
  const rest = dice % 8 === 0 ? (dice >>> 3) % (capacityBytes * 3) : (dice >>> 3) % 100
  const bytes = contentOf(seed, number, 4 + rest)
  new DataView(bytes.buffer).setUint32(0, number, true)
  return bytes
}

export function numberOf(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0, true)
}

/** What tests compare instead of the bytes. */
export type Digest = readonly [byteLength: number, checksum: number]

export function digestOf(bytes: Uint8Array): Digest {
  return [bytes.byteLength, crc32(bytes)]
}
