import { type BigIntStats, fstatSync } from 'node:fs'

/**
 * Stats a descriptor that may be of a FIFO. In Node.js 20 and 22 the number form of `fs.stat` leaves its result in a buffer
 * that the module loader reads when it resolves symbolic links: after a stat of a FIFO, the program's next `import` would
 * fail. The BigInt form uses another buffer.
 */
export function statDescriptor(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true })
}
