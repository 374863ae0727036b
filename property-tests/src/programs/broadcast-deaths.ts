import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { broadcastRing, type Publisher, type SubscriberOptions } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { ForkedChild } from '../fork/forked-child.js'
import { type BroadcastNotes, NoteTaker, type Way } from '../harness/broadcast-notes.js'
import { scrambled } from '../harness/messages.js'
import { STAMPED_BYTES_MIN, StampedMessages } from '../harness/stamped-messages.js'

/**
 * Kills the publisher of a broadcast ring at random moments, one after the other, while several subscribers receive; each time another
 * one takes over. `broadcast-deaths.js KILLS` writes what the subscribers have noted, as JSON. Needs `--single-threaded`.
 */

export interface BroadcastDeaths {
  readonly published: number
  readonly subscribers: { readonly name: string; readonly notes: BroadcastNotes }[]
  /** Told deaths that were too many, or missing. */
  readonly faults: string[]
}

const CAPACITY_BYTES = 8192
const layout = broadcastRing({ capacityBytes: CAPACITY_BYTES, gates: 1, maxMessageBytes: 20_000 })
const SUBSCRIBERS: { readonly name: string; readonly subscription: SubscriberOptions; readonly way: Way }[] = [
  { name: 'gating', subscription: { gate: true }, way: 'sync' },
  { name: 'lossy', subscription: {}, way: 'batch' },
  { name: 'lossy, in chunks', subscription: { onOverrun: 'throw' }, way: 'chunks' },
  { name: 'lossy, in place', subscription: {}, way: 'drain' },
]
const KILL_WITHIN_MS = 4
const LAST_MESSAGES = 500
const WATCHDOG_MS = 20_000
const sleeper = new Int32Array(new SharedArrayBuffer(4))
const sleep = (ms: number) => Atomics.wait(sleeper, 0, 0, ms)

/** A number in a file, which one process writes and another one reads: it outlives both. */
class Mark {
  readonly #path: string

  constructor(path: string, value: number) {
    this.#path = path
    this.write(value)
  }

  write(value: number): void {
    writeFileSync(this.#path, Int32Array.of(value))
  }

  /** For the process that writes often: the file stays open. */
  writer(): (value: number) => void {
    const file = openSync(this.#path, 'r+')
    return (value) => writeSync(file, Int32Array.of(value), 0, 4, 0)
  }

  read(): number {
    const file = openSync(this.#path, 'r')
    const word = new Int32Array(1)
    readSync(file, word, 0, 4, 0)
    closeSync(file)
    return word[0]
  }

  waitFor(isEnough: (value: number) => boolean, child: ForkedChild): boolean {
    for (const endMs = performance.now() + WATCHDOG_MS; performance.now() < endMs; sleep(0.3)) {
      if (isEnough(this.read())) return true
      const ending = child.poll()
      if (ending !== undefined) throw new Error(`A process has ended early: ${JSON.stringify(ending)}`)
    }
    return false
  }
}

/** Publishes in all ways until it is killed, or so many messages are published. */
function publish(name: string, mark: Mark, count: number): void {
  using segment = Segment.open(name, layout)
  const ring = segment.root
  const first = ring.describe().publishedMessages
  const publisher = ring.publisher()
  const messages = new StampedMessages()
  const tell = mark.writer()
  for (let number = first; number < first + count; number++) {
    const turn = (number - first) % 32
    if (turn === 0) publisher.cork()
    publishOne(publisher, messages, number)
    if (turn === 9) publisher.uncork()
    if (number === first + 40) tell(number)
  }
  publisher.close()
  tell(ring.describe().publishedMessages)
}

function publishOne(publisher: Publisher, messages: StampedMessages, number: number): void {
  const dice = scrambled(number)
  const isLarge = dice % 16 === 0
  const message = messages.at(number, STAMPED_BYTES_MIN + ((dice >>> 4) % (isLarge ? 12_000 : 200)))
  if (isLarge || dice % 3 === 0 || message.byteLength > publisher.maxRecordBytes) {
    publisher.publishSync(message)
    return
  }
  if (dice % 3 === 1) {
    while (!publisher.tryPublish(message)) sleep(0.05)
    return
  }
  let byteOffset: number
  do byteOffset = publisher.tryClaim(message.byteLength)
  while (byteOffset === -1)
  publisher.bytes.set(message, byteOffset)
  publisher.commit()
}

function run(kills: number, folder: string, name: string): BroadcastDeaths {
  const faults: string[] = []
  const progress = new Mark(join(folder, 'published'), -1)
  const subscribers = SUBSCRIBERS.map(({ name: title, subscription, way }, index) => {
    const deaths = new Mark(join(folder, `deaths-${index}`), -1)
    const notesFile = join(folder, `notes-${index}`)
    const child = ForkedChild.start(() => {
      const tell = deaths.writer()
      const subscriber = Segment.open(name, layout).root.subscriber(subscription)
      let told = 0
      const taker = new NoteTaker(subscriber, 0, (notes) => {
        if (notes.deaths === told) return
        told = notes.deaths
        tell(told)
      })
      tell(0)
      writeFileSync(notesFile, JSON.stringify(taker.receiveBlocking(way)))
    })
    return { title, deaths, notesFile, child, told: 0 }
  })
  const children = subscribers.map(({ child }) => child)
  try {
    for (const { deaths, child } of subscribers) deaths.waitFor((value) => value === 0, child)
    for (let kill = 1; kill <= kills; kill++) {
      progress.write(-1)
      const publisher = ForkedChild.start(() => publish(name, progress, Number.POSITIVE_INFINITY))
      children.push(publisher)
      if (!progress.waitFor((value) => value >= 0, publisher)) throw new Error(`Publisher ${kill} publishes nothing`)
      sleep(Math.random() * KILL_WITHIN_MS)
      publisher.end()
      // Now and then a successor is there before a subscriber has heard of the death.
      const mustBeTold = kill % 4 !== 0
      for (const subscriber of subscribers) {
        const { deaths, child, title, told } = subscriber
        if (mustBeTold && !deaths.waitFor((value) => value > told, child)) {
          throw new Error(`${title}: death ${kill} is not told`)
        }
        subscriber.told = deaths.read()
        if (subscriber.told > kill) faults.push(`${title}: after ${kill} deaths it was told ${subscriber.told}`)
      }
    }
    progress.write(-1)
    const last = ForkedChild.start(() => publish(name, progress, LAST_MESSAGES))
    children.push(last)
    for (const child of [last, ...subscribers.map(({ child }) => child)]) {
      const ending = child.waitForEnd(WATCHDOG_MS)
      if (ending === undefined || !('exitCode' in ending) || ending.exitCode !== 0) {
        throw new Error(`A process has not ended well: ${JSON.stringify(ending)}`)
      }
    }
    return {
      published: progress.read(),
      subscribers: subscribers.map(({ title, notesFile }) => ({ name: title, notes: notesIn(notesFile) })),
      faults,
    }
  } finally {
    for (const child of children) child.end()
  }
}

/** Runs the code once before copies of this process are made: a copy that had to load and compile it would take long to start. */
function rehearse(folder: string, name: string): void {
  {
    using segment = Segment.create(name, layout)
    const takers = SUBSCRIBERS.filter(({ subscription }) => subscription.gate !== true).map(({ way }) => {
      return { way, taker: new NoteTaker(segment.root.subscriber(), 0) }
    })
    publish(name, new Mark(join(folder, 'rehearsed'), 0), LAST_MESSAGES)
    for (const { way, taker } of takers) taker.receiveBlocking(way)
  }
  Segment.unlink(name)
}

function notesIn(file: string): BroadcastNotes {
  return JSON.parse(readFileSync(file, 'utf8'))
}

const folder = mkdtempSync(join(tmpdir(), 'isthmus-broadcast-deaths-'))
const name = `/isthmus-broadcast-deaths-${process.pid}`
try {
  rehearse(folder, `${name}-rehearsal`)
  Segment.create(name, layout).close()
  console.log(JSON.stringify(run(Number(process.argv[2]), folder, name)))
} finally {
  Segment.unlink(name)
  rmSync(folder, { recursive: true })
}
