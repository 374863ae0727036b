import { Worker } from 'node:worker_threads'
import { Segment, waitAny } from 'isthmus'
import { greetings } from './greetings.js'

using segment = Segment.createAnonymous(greetings)
for (const seat of segment.root.keys()) {
  new Worker(new URL('./guest.js', import.meta.url), { workerData: { seat, handle: segment.handle } })
}

const consumers = new Set(segment.root.map((ring) => ring.consumer()))
const heard: string[] = []
while (consumers.size > 0) {
  for (const consumer of await waitAny(consumers)) {
    const message = consumer.tryReceive()
    if (message === null) consumers.delete(consumer)
    else if (message !== undefined) heard.push(message)
  }
}
console.log(heard.sort().join('\n'))
