import { Worker } from 'node:worker_threads'
import { Segment, waitAny } from 'isthmus'
import { type Guest, greetings } from './greetings.js'

using segment = Segment.createAnonymous(greetings)
const guests = Object.keys(segment.root) as Guest[]
for (const guest of guests) {
  new Worker(new URL('./guest.js', import.meta.url), { workerData: { guest, handle: segment.handle } })
}

const consumers = new Set(guests.map((guest) => segment.root[guest].consumer()))
const heard: string[] = []
while (consumers.size > 0) {
  for (const consumer of await waitAny(consumers)) {
    const message = consumer.tryReceive()
    if (message === null) consumers.delete(consumer)
    else if (message !== undefined) heard.push(message)
  }
}
console.log(heard.sort().join('\n'))
