import { addressOf, mapFileOver, mapZerosOver } from '../native/memory-map.js'
import type { Mapping } from './mapping.js'
import { type PlainAlias, tryPlainAlias } from './plain-alias.js'

/**
 * The default: a true SharedArrayBuffer whose memory is the file's. For a growable buffer V8 reserves whole pages, and the
 * file is mapped over them; V8 unmaps the range when the buffer is collected, whatever is mapped there.
 *
 * A plain ArrayBuffer over the same file serves bulk copies: V8 copies into shared buffers word by word with relaxed
 * stores, but into a plain one with memmove, several times as fast. It is made when it is first asked for, because V8
 * counts it as allocated memory, and may collect garbage for a millisecond or two if it is large.
 */
export function mapOverlay(fd: number, byteLength: number): Mapping {
  // With its maximum length from the start: growing would change the protection of pages that are not V8's any more.
  const buffer = new SharedArrayBuffer(byteLength, { maxByteLength: byteLength })
  // With an explicit length, since a length-tracking view of a growable buffer is 20 to 30 times slower.
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
      // After unmap, the zeros of the shared buffer serve.
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
