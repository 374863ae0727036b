import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { counters } from './counters.js'

const name = `/isthmus-example-counters-${process.pid}`
const segment = Segment.create(name, counters)
try {
  // The last worker is killed after half of its requests.
  const exits = [run('worker', '500'), run('worker', '500'), run('worker', '500', '250')]
  for (const [code, signal] of await Promise.all(exits)) console.log(`A worker ended: ${signal ?? code}`)
  segment.root.isOver.value = 1
  await run('dashboard')
} finally {
  segment.close()
  Segment.unlink(name)
}

/** Runs one of the programs beside this one, and waits for its end. */
function run(program: string, ...args: string[]): Promise<unknown[]> {
  return once(fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [name, ...args]), 'exit')
}
