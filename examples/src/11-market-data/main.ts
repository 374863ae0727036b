import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { market } from './market.js'

const QUOTES = 2000
const name = `/isthmus-example-market-${process.pid}`
using segment = Segment.create(name, market)
try {
  const programs = ['recorder', 'ticker', 'ticker']
  const subscribers = programs.map(start)
  const message = () => Promise.all(subscribers.map(async (subscriber) => (await once(subscriber, 'message'))[0]))
  await message() // each is ready

  const died = message()
  const publisher = start('publisher')
  for await (const { number } of segment.root.subscriber()) if (number >= QUOTES / 2) break
  publisher.kill('SIGKILL')
  await died
  console.log('The publisher was killed, and all subscribers know it.')

  const ends = message()
  start('publisher')
  for (const [index, { received, lost }] of (await ends).entries()) {
    const missed = lost === 0 ? 'missed none' : 'was told how many it had missed'
    console.log(`A ${programs[index]} ${missed}: it knows of ${received + lost} quotes.`)
  }
} finally {
  if (Segment.list().some((other) => other.name === name)) Segment.unlink(name)
}

/** One of the programs beside this one. What it prints is for a terminal of its own. */
function start(program: string): ChildProcess {
  return fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [name, `${QUOTES}`], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}
