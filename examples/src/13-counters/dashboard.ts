import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { counters, name } from './counters.js'

using segment = Segment.openOrCreate(process.argv[2] ?? name, counters)
const { requests, failures, bytes, isOver } = segment.root
for (;;) {
  // Read when it is due, at whatever rate: the workers do not notice.
  console.log(`${requests.value} requests, ${failures.value} failures, ${bytes.value} bytes`)
  if (isOver.value === 1) break
  await setTimeout(1000)
}
