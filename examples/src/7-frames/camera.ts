import { Segment, waitAny } from 'isthmus'
import { FRAME_BYTES, frames } from './frames.js'

using segment = Segment.open(process.argv[2], frames)
const sender = segment.root.sender()
for (let brightness = 10; brightness <= 50; brightness += 10) {
  let loan = sender.tryLoan()
  while (loan === undefined) {
    await waitAny([sender])
    loan = sender.tryLoan()
  }
  // The picture is taken right where it will be looked at.
  loan.bytes.fill(brightness)
  loan.send(FRAME_BYTES)
}
segment.root.end()
