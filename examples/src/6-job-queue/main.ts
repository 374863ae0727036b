import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { office } from './office.js'

const WORKERS = 4
const JOBS = 12
const name = `/isthmus-example-office-${process.pid}`
const segment = Segment.create(name, office)
try {
  const { jobs, results } = segment.root
  const program = fileURLToPath(new URL('./worker.js', import.meta.url))
  const workers = Array.from({ length: WORKERS }, () => fork(program, [name]))
  const exits = Promise.all(workers.map((worker) => once(worker, 'exit')))
  // One by one: a batch would share blocks, and each block goes to one worker.
  const sender = jobs.sender()
  for (let number = 1; number <= JOBS; number++) await sender.send({ number })
  // The workers end after the last job, and not while another worker may still die of one.
  jobs.end()
  const killed = (await exits).filter(([, signal]) => signal === 'SIGKILL')
  results.end()
  const squares: number[] = []
  for (const { number, square } of results.receiver()) squares[number - 1] = square
  console.log(`${killed.length} of ${WORKERS} workers was killed`)
  console.log(`squares: ${squares.join(' ')}`)
} finally {
  segment.close()
  Segment.unlink(name)
}
