import { Worker } from 'node:worker_threads'
import { HeapRegion } from 'isthmus'
import { lines } from './lines.js'

using region = HeapRegion.create(lines)
new Worker(new URL('./worker.js', import.meta.url), { workerData: region.handle })

const producer = region.root.producer()
for (const line of ['two threads', 'one memory', 'no message ports']) producer.sendSync(line)
producer.close()
