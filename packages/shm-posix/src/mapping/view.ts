import { libc } from '../native/libc.js'
import type { Mapping } from './mapping.js'
import { mapFile, mapZerosOver } from './memory-map.js'

/** Runs when no view of the memory is left. */
const unmapping = new FinalizationRegistry<{ address: number; byteLength: number }>(({ address, byteLength }) => {
  libc().munmap(address, byteLength)
})

/**
 * The fallback where the overlay does not work: a plain ArrayBuffer over the mapped file. Atomics work on it, all but
 * waiting, which goes through the futex anyway; only posting the buffer to another thread copies instead of sharing. A
 * thread that ends without closing leaves its mapping to the process: nothing of JavaScript runs at a thread's end.
 */
export function mapView(fd: number, byteLength: number): Mapping {
  const address = mapFile(fd, byteLength)
  const buffer = libc().view(address, byteLength)
  unmapping.register(buffer, { address, byteLength })
  return {
    mapper: 'view',
    words: new Int32Array(buffer, 0, byteLength / 4),
    bytes: new Uint8Array(buffer, 0, byteLength),
    address,
    unmap: () => mapZerosOver(address, byteLength),
  }
}
