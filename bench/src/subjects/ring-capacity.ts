const MIB = 1024 * 1024
const CAPACITY_BYTES_MIN = MIB
const CAPACITY_BYTES_MAX = 4 * MIB

/** The capacity for every subject that has a ring: a few messages, but no more than a cache holds. A power of two. */
export function ringCapacityBytes(messageBytes: number): number {
  const wishedBytes = 2 ** Math.ceil(Math.log2(messageBytes * 4))
  return Math.min(CAPACITY_BYTES_MAX, Math.max(CAPACITY_BYTES_MIN, wishedBytes))
}
