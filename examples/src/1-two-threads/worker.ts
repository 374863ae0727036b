import { workerData } from 'node:worker_threads'
import { HeapRegion } from 'isthmus'
import { lines } from './lines.js'

using region = HeapRegion.attach(workerData, lines)
const consumer = region.root.consumer()
for (const line of consumer) {
  console.log(`received: ${line}`)
}
