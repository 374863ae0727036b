import { workerData } from 'node:worker_threads'
import { Segment } from 'isthmus'
import { type Guest, greetings } from './greetings.js'

const guest: Guest = workerData.guest
using segment = Segment.attach(workerData.handle, greetings)
using producer = segment.root[guest].producer()
await producer.send(`Good evening, ${guest} is here.`)
