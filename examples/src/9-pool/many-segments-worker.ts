import { bytes, Segment } from 'isthmus'
import { sumOf } from './documents.js'
import { post } from './many-segments.js'

using segment = Segment.open(process.argv[2], post)
const { work, done } = segment.root
const sender = done.sender()
for await (const box of work.receiver()) {
  try {
    using document = Segment.open(box.name, bytes(box.byteLength))
    await sender.send({ ...box, sum: sumOf(document.root) })
  } catch (error) {
    // Another worker has done it, and was killed before it acknowledged that.
    if ((error as { code?: string }).code !== 'ENOENT') throw error
  }
}
