import { Segment } from 'isthmus'
import { office } from './office.js'

using segment = Segment.open(process.argv[2], office)
const { jobs, results, accidents } = segment.root
const sender = results.sender()

// A job is acknowledged when the loop asks for the next one.
for await (const { number } of jobs.receiver()) {
  // The first worker that gets job 5 is killed at its work.
  if (number === 5 && accidents.add(1) === 0) process.kill(process.pid, 'SIGKILL')
  await sender.send({ number, square: number ** 2 })
}
