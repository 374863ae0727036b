const KIB = 1024
const MIB = 1024 * KIB

/**
 * For every subject that has a ring. Small messages: more than the cache that a core has for itself, from which the other
 * core would have to fetch each line back; for others a few messages, so that they stay in a cache. A power of two.
 */
export function ringCapacityBytes(messageBytes: number): number {
  if (messageBytes <= KIB) return 4 * MIB
  return Math.min(4 * MIB, Math.max(MIB, 2 ** Math.ceil(Math.log2(messageBytes * 4))))
}
