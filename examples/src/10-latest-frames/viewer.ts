import { Segment, waitAny } from 'isthmus'
import { FRAMES, frames } from './frames.js'

using segment = Segment.open(process.argv[2], frames)
const newest = segment.root
for (let version = 0, brightness = 0; brightness !== FRAMES; ) {
  await waitAny([newest.newerThan(version)])
  const look = newest.readInPlace(brightnessOf)
  if (look === undefined) continue
  version = look.version
  // If the camera has overtaken this viewer, what it has computed means nothing, and a newer frame is there.
  if (!look.isWhole) continue
  brightness = look.value
  process.send?.({ brightness })
}
process.disconnect?.()

/** The average of some pixels. It may see bytes that change: it does arithmetic with them, and no more. */
function brightnessOf(bytes: Uint8Array, byteOffset: number, byteLength: number): number {
  const pixels = 1000
  let sum = 0
  for (let pixel = 0; pixel < pixels; pixel++) sum += bytes[byteOffset + Math.floor((pixel * byteLength) / pixels)]
  return sum / pixels
}
