import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Segment, waitAny } from 'isthmus'
import { frames } from './frames.js'

const name = `/isthmus-example-frames-${process.pid}`
const segment = Segment.create(name, frames)
try {
  fork(fileURLToPath(new URL('./camera.js', import.meta.url)), [name])
  const receiver = segment.root.receiver()
  for (;;) {
    await waitAny([receiver])
    using loan = receiver.tryTake()
    if (loan === null) break
    if (loan === undefined) continue
    const middle = loan.bytes[loan.byteLength / 2]
    console.log(`a frame of ${loan.byteLength} bytes, brightness ${middle}`)
    // Here the loan ends, and its block is free for the next frame.
  }
} finally {
  segment.close()
  Segment.unlink(name)
}
