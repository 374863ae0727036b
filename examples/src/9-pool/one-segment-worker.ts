import { Segment } from 'isthmus'
import { sumOf } from './documents.js'
import { pool } from './one-segment.js'

using segment = Segment.open(process.argv[2], pool)
const { memory, work, done } = segment.root
const sender = done.sender()
for await (const part of work.receiver()) {
  const { byteOffset, byteLength } = part
  await sender.send({ ...part, sum: sumOf(memory.subarray(byteOffset, byteOffset + byteLength)) })
}
