import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { DOCUMENTS } from './documents.js'
import { FreeParts } from './free-parts.js'
import { MEMORY_BYTES, pool } from './one-segment.js'

const name = `/isthmus-example-pool-${process.pid}`
const segment = Segment.create(name, pool)
try {
  const { memory, work, done } = segment.root
  const program = fileURLToPath(new URL('./one-segment-worker.js', import.meta.url))
  const exits = Promise.all([1, 2].map(() => once(fork(program, [name]), 'exit')))
  const sender = work.sender()
  const receiver = done.receiver()
  // Only this process knows what is free, so no peer can leave that in disorder.
  const free = new FreeParts(MEMORY_BYTES)
  const sums: number[] = []
  const takeBack = async (): Promise<void> => {
    const part = await receiver.receive()
    // A worker that is killed before it acknowledges a document has another one do it again. Its part is not free twice.
    if (part === null || sums[part.number - 1] !== undefined) return
    sums[part.number - 1] = part.sum
    free.giveBack(part)
  }
  for (const { number, byteLength } of DOCUMENTS) {
    let byteOffset = free.take(byteLength)
    for (; byteOffset === undefined; byteOffset = free.take(byteLength)) await takeBack()
    memory.fill(number, byteOffset, byteOffset + byteLength)
    await sender.send({ byteOffset, byteLength, number })
  }
  work.end()
  while (free.byteLength < MEMORY_BYTES) await takeBack()
  await exits
  console.log(`sums: ${sums.join(' ')}`)
} finally {
  segment.close()
  Segment.unlink(name)
}
