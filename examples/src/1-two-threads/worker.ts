import { workerData } from 'node:worker_threads'
import { HeapRegion, utf8 } from 'isthmus'
import { lines } from './lines.js'

using region = HeapRegion.attach(workerData, lines)
const consumer = region.root.consumer({ decode: utf8 })
for (const line of consumer) {
  console.log(`received: ${line}`)
}
