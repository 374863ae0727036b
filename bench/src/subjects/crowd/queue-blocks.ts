const MIB = 1024 * 1024
const BYTES_MAX = 16 * MIB
const BLOCKS_MAX = 1024

/** How many messages every queue holds: 1024, or as many as have 16 MiB. A power of two. */
export function blocksFor(messageBytes: number): number {
  return Math.min(BLOCKS_MAX, 2 ** Math.floor(Math.log2(BYTES_MAX / messageBytes)))
}
