import { Worker } from 'node:worker_threads'
import { utf8 } from '@isthmus/ring'
import { HeapRegion } from '@isthmus/sync'
import { lines } from './lines.js'

using region = HeapRegion.create(lines)
new Worker(new URL('./worker.js', import.meta.url), { workerData: region.handle })

const producer = region.root.producer({ encode: utf8 })
for (const line of ['two threads', 'one memory', 'no message ports']) producer.sendSync(line)
producer.close()
