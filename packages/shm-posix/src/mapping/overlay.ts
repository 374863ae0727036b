import { addressOf, mapFileOver, mapZerosOver } from '../native/memory-map.js'
import type { Mapping } from './mapping.js'
import { type PlainAlias, tryPlainAlias } from './plain-alias.js'

/**
 * The default: a true SharedArrayBuffer whose memory is the file's. For a growable buffer V8 reserves whole pages of its
 * own, and over those the file is mapped; V8 unmaps the range when the buffer is collected, whatever is mapped there.
 *
 * A plain ArrayBuffer over the same file serves bulk copies: into shared buffers V8 copies word by word with relaxed
 * stores, into a plain one with memmove, which is several times as fast. It is made when it is first asked for: V8 takes it
 * for memory that the program has taken, and where that is a lot it begins to collect garbage, a millisecond or two.
 */
export function mapOverlay(fd: number, byteLength: number): Mapping {
  // As long as it can ever be: growing would change the protection of pages that are not V8's any more.
  const buffer = new SharedArrayBuffer(byteLength, { maxByteLength: byteLength })
  // With an explicit length: a length-tracking view of a growable buffer is 20 to 30 times slower.
  const words = new Int32Array(buffer, 0, byteLength / 4)
  const address = addressOf(words)
  mapFileOver(address, fd, byteLength)
  let alias: PlainAlias | undefined
  let bytes: Uint8Array | undefined
  let isUnmapped = false
  return {
    mapper: 'overlay',
    words,
    get bytes() {
      if (bytes !== undefined) return bytes
      // After unmap the shared buffer's own zeros serve, which no file stands behind.
      if (!isUnmapped) alias = tryPlainAlias(address, byteLength)
      bytes = alias?.bytes ?? new Uint8Array(buffer, 0, byteLength)
      return bytes
    },
    address,
    unmap() {
      isUnmapped = true
      mapZerosOver(address, byteLength)
      if (alias !== undefined) mapZerosOver(alias.address, byteLength)
    },
  }
}
