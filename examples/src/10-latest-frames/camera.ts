import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { FRAMES, FRAMES_PER_SECOND, frames } from './frames.js'

using segment = Segment.open(process.argv[2], frames)
using writer = segment.root.writer()
for (let brightness = 1; brightness <= FRAMES; brightness++) {
  // The picture is taken right where it will be looked at.
  writer.claim().fill(brightness)
  writer.commit()
  await setTimeout(1000 / FRAMES_PER_SECOND)
}
