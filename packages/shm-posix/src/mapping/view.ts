import { bufferOver, mapFile, mapZerosOver, unmap } from '../native/memory-map.js'
import type { Mapping } from './mapping.js'

/** Unmaps the memory when no view of it is left. */
const unmapping = new FinalizationRegistry<{ address: number; byteLength: number }>(({ address, byteLength }) => {
  unmap(address, byteLength)
})

/**
 * The fallback if the overlay does not work: a plain ArrayBuffer over the mapped file. All of Atomics works on it except
 * waiting, which goes through the futex anyway; but posting the buffer to another thread copies it. A thread that ends
 * without closing leaves its mapping to the process, since no JavaScript runs at a thread's end.
 */
export function mapView(fd: number, byteLength: number): Mapping {
  const address = mapFile(fd, byteLength)
  const buffer = bufferOver(address, byteLength)
  unmapping.register(buffer, { address, byteLength })
  return {
    mapper: 'view',
    words: new Int32Array(buffer, 0, byteLength / 4),
    bytes: new Uint8Array(buffer, 0, byteLength),
    address,
    unmap: () => mapZerosOver(address, byteLength),
  }
}
