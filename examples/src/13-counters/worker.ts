import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { counters, name } from './counters.js'

const [where = name, last = '1000000', accidentAt = ''] = process.argv.slice(2)
using segment = Segment.openOrCreate(where, counters)
const { requests, failures, bytes, isOver } = segment.root
for (let request = 1; request <= Number(last) && isOver.value === 0; request++) {
  if (request % 10 === 0) await setTimeout(10)
  requests.add(1)
  bytes.add(512n)
  if (request % 100 === 0) failures.add(1)
  // What it has counted stays.
  if (request === Number(accidentAt)) process.kill(process.pid, 'SIGKILL')
}
