import { type BigIntStats, fstatSync } from 'node:fs'

/**
 * For a descriptor that may be of a FIFO. In BigInts: what a stat in numbers finds stays where Node.js 20 and 22 look when
 * they resolve the symbolic links of a module's path. After a FIFO they would stop half-way there, and the program's next
 * import would not find its package.
 */
export function statDescriptor(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true })
}
