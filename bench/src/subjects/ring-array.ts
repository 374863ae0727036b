import { type SpscRing, type SpscRingOptions, spscRing } from '@isthmus/ring'
import type { Layout } from '@isthmus/sync'
import { alignUp } from '@isthmus/sync/internal'

/** A number of rings, one after the other. (A struct would name each of them in its signature, which has to fit into a header.) */
export function ringArray(count: number, options: SpscRingOptions): Layout<readonly SpscRing[]> {
  const ring = spscRing(options)
  const strideBytes = alignUp(ring.byteLength, ring.byteAlignment)
  const offsetsFrom = (byteOffset: number) =>
    Array.from({ length: count }, (_, index) => byteOffset + index * strideBytes)
  return {
    byteLength: count * strideBytes,
    byteAlignment: ring.byteAlignment,
    signature: `array@1(${count} ${ring.signature})`,
    initialize(region, byteOffset) {
      for (const offset of offsetsFrom(byteOffset)) ring.initialize(region, offset)
    },
    attach: (region, byteOffset) => offsetsFrom(byteOffset).map((offset) => ring.attach(region, offset)),
    sweep(region, byteOffset, deadPeer) {
      for (const offset of offsetsFrom(byteOffset)) ring.sweep(region, offset, deadPeer)
    },
  }
}
