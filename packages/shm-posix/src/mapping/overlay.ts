import { libc } from '../native/libc.js'
import type { Mapping } from './mapping.js'
import { mapFileOver, mapZerosOver } from './memory-map.js'

/** The alias must not outlive the memory, which V8 unmaps with the SharedArrayBuffer. */
const bufferOfAlias = new WeakMap<ArrayBuffer, SharedArrayBuffer>()

/**
 * The default: a true SharedArrayBuffer whose memory is the file's. For a growable buffer V8 reserves whole pages of its
 * own, and over those the file is mapped; V8 unmaps the range when the buffer is collected, whatever is mapped there.
 *
 * A plain ArrayBuffer over the same bytes serves bulk copies: into shared buffers V8 copies word by word with relaxed
 * stores, into this one with memmove, which is several times as fast.
 */
export function mapOverlay(fd: number, byteLength: number): Mapping {
  // As long as it can ever be: growing would change the protection of pages that are not V8's any more.
  const buffer = new SharedArrayBuffer(byteLength, { maxByteLength: byteLength })
  // With an explicit length: a length-tracking view of a growable buffer is 20 to 30 times slower.
  const words = new Int32Array(buffer, 0, byteLength / 4)
  const address = libc().addressOf(words)
  mapFileOver(address, fd, byteLength)
  const alias = libc().view(address, byteLength)
  bufferOfAlias.set(alias, buffer)
  return {
    mapper: 'overlay',
    words,
    bytes: new Uint8Array(alias, 0, byteLength),
    address,
    unmap: () => mapZerosOver(address, byteLength),
  }
}
