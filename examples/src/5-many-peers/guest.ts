import { workerData } from 'node:worker_threads'
import { Segment } from 'isthmus'
import { greetings, names } from './greetings.js'

const { seat, handle } = workerData
using segment = Segment.attach(handle, greetings)
using producer = segment.root[seat].producer()
await producer.send(`Good evening, ${names[seat]} is here.`)
