import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { bytes, Segment } from 'isthmus'
import { DOCUMENTS } from './documents.js'
import { post } from './many-segments.js'

const name = `/isthmus-example-post-${process.pid}`
const segment = Segment.create(name, post)
try {
  const { work, done } = segment.root
  const program = fileURLToPath(new URL('./many-segments-worker.js', import.meta.url))
  const exits = Promise.all([1, 2].map(() => once(fork(program, [name]), 'exit')))
  const sender = work.sender()
  for (const { number, byteLength } of DOCUMENTS) {
    const box = { name: `${name}-${number}`, byteLength, number }
    using document = Segment.create(box.name, bytes(byteLength))
    document.root.fill(number)
    await sender.send(box)
  }
  work.end()
  const receiver = done.receiver()
  const sums: number[] = []
  for (let count = 0; count < DOCUMENTS.length; ) {
    const box = await receiver.receive()
    // Done twice: see the worker.
    if (box === null || sums[box.number - 1] !== undefined) continue
    count++
    sums[box.number - 1] = box.sum
    // Its memory is free as soon as no process has it open.
    Segment.unlink(box.name)
  }
  await exits
  console.log(`sums: ${sums.join(' ')}`)
} finally {
  segment.close()
  Segment.unlink(name)
}
