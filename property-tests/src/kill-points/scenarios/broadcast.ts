import { broadcastRing, IncompleteMessageError, OverrunError, type Publisher, type Subscriber } from '@isthmus/ring'
import { type Attached, PeerDiedError, struct, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

/** So small a ring that it comes round, also within one batch. */
const layout = struct({ ring: broadcastRing({ capacityBytes: 256, gates: 2, maxMessageBytes: 1024 }), told: words(4) })
type Root = Attached<typeof layout>

const SMALL_BYTES = 20
const LARGE_BYTES = 150

/** How many messages were published, by calls that have returned. */
const SENT = 0
/** How many more a call may have published that has not returned. */
const BEGUN = 1

function messageOf(number: number, byteLength = SMALL_BYTES): Uint8Array {
  return new Uint8Array(byteLength).fill(number + 1)
}

/** Reads all that is there: each message whole, and the one that comes after what was received and lost before. */
class Reading {
  readonly #subscriber: Subscriber
  #received: number
  deathsTold = 0
  isOver = false

  /** @param first the number of the first message that it may get */
  constructor(subscriber: Subscriber, first = 0) {
    this.#subscriber = subscriber
    this.#received = first
  }

  /** How many messages were published, as far as it has read. */
  get count(): number {
    return this.#received + this.#subscriber.lost
  }

  readAll(): this {
    this.isOver = false
    for (;;) {
      let message: Uint8Array | undefined | null
      try {
        message = this.#subscriber.receiveSync({ timeoutMs: 0 })
      } catch (error) {
        if (error instanceof PeerDiedError) this.deathsTold++
        else if (!(error instanceof IncompleteMessageError)) throw error
        continue
      }
      if (message === null) this.isOver = true
      if (message === undefined || message === null) return this
      expectEqual([...new Set(message)], [(this.count + 1) & 0xff], `The bytes of message ${this.count}`)
      this.#received++
    }
  }
}

/** The survivor has a subscriber without a gate. */
function prepareReading({ root }: Survivor<Root>): Reading {
  return new Reading(root.ring.subscriber())
}

/** What was published is there, or lost, and counted exactly; a successor goes on with the next number. */
function checkPublished(survivor: Survivor<Root>, reading: Reading): void {
  const { told } = survivor.root
  const { state } = survivor.root.ring.describe().publisher
  const published = reading.readAll().count
  expect(published >= told[SENT], `${told[SENT]} messages were published, and ${published} are received or lost`)
  expect(
    published <= told[SENT] + told[BEGUN],
    `${published} are received or lost, of ${told[SENT]} and ${told[BEGUN]}`,
  )
  expectEqual(survivor.root.ring.describe().publishedMessages, published, 'How many were published')
  const { ring } = survivor.newcomer().root
  const oldest = ring.subscriber({ from: 'oldest' })
  const publisher = ring.publisher()
  reading.readAll()
  expect(
    reading.deathsTold <= survivor.deaths,
    `${reading.deathsTold} deaths were told, of a publisher that is ${state}`,
  )
  const newest = new Reading(ring.subscriber(), published)
  goOn(publisher, published, [reading, newest])
  const first = (oldest.tryReceive() as Uint8Array)[0] - 1
  expect(first >= published - 7 && first < published + 12, `The oldest message is ${first}, of ${published + 12}`)
  publisher.close()
  for (const each of [reading, newest]) expect(each.readAll().isOver, 'The end of the successor is not told')
}

/** More messages than the ring has room for, and each of these readers gets each of them at once. */
function goOn(publisher: Publisher, from: number, readings: readonly Reading[]): void {
  for (let number = from; number < from + 12; number++) {
    expect(publisher.tryPublish(messageOf(number)), `Message ${number} is not published at once`)
    for (const reading of readings) expectEqual(reading.readAll().count, number + 1, 'How many are received or lost')
  }
}

/** Beside a publisher that is stopped: what it has published can be read, and none takes its role. */
function readBeside(survivor: Survivor<Root>, reading: Reading): void {
  const { ring, told } = survivor.root
  const { count } = reading.readAll()
  expect(count >= told[SENT] && count <= told[SENT] + told[BEGUN], `${count} are received or lost beside a stopped one`)
  expectEqual(ring.tryPublisher(), undefined, 'Another publisher beside the stopped one')
  ring.subscriber({ from: 'oldest' }).close()
  ring.subscriber({ gate: true }).close()
}

function publisherScenario(name: string, count: number, publish: (publisher: Publisher, first: number) => void) {
  return scenario({
    name: `broadcast publisher: ${name}`,
    layout,
    prepare: prepareReading,
    victim({ root: { ring, told } }: Victim<Root>) {
      const publisher = ring.publisher()
      return () => {
        for (let time = 0; time < 4; time++) {
          told[BEGUN] = count
          publish(publisher, told[SENT])
          told[SENT] += count
          told[BEGUN] = 0
        }
      }
    },
    check: checkPublished,
    checkSwept: checkPublished,
    whileStopped: readBeside,
  })
}

/** The survivor publishes, beside a victim that receives. */
interface Publishing {
  readonly publisher: Publisher
  readonly reading: Reading
  published: number
}

function preparePublishing(survivor: Survivor<Root>): Publishing {
  const reading = new Reading(survivor.newcomer().root.ring.subscriber())
  return { publisher: survivor.root.ring.publisher(), reading, published: 0 }
}

/** As many as the victim leaves space for, if it has a gate. */
function publishBeside(_: Survivor<Root>, publishing: Publishing, byteLength = SMALL_BYTES): void {
  for (let count = 0; count < 20; count++) {
    if (!publishing.publisher.publishSync(messageOf(publishing.published, byteLength), { timeoutMs: 20 })) return
    publishing.published++
    publishing.reading.readAll()
  }
}

/** A subscriber that is dead holds back nobody, and both gates can be taken. */
function checkFree(survivor: Survivor<Root>, publishing: Publishing): void {
  const { publisher, reading } = publishing
  for (let count = 0; count < 20; count++) {
    const isPublished = publisher.publishSync(messageOf(publishing.published), { timeoutMs: HAD_WITHIN_MS })
    expect(isPublished, `Message ${publishing.published} finds no space beside a dead subscriber`)
    publishing.published++
  }
  expectEqual(reading.readAll().count, publishing.published, 'How many are received or lost')
  const { ring } = survivor.newcomer().root
  const gating = [ring.subscriber({ gate: true }), ring.subscriber({ gate: true })]
  const readings = gating.map((subscriber) => new Reading(subscriber, publishing.published))
  goOn(publisher, publishing.published, [reading, ...readings])
  for (const { lost } of gating) expectEqual(lost, 0, 'What a subscriber with a gate has lost')
}

function checkFreeSwept(survivor: Survivor<Root>, publishing: Publishing): void {
  expectEqual(survivor.root.ring.describe().freeGates, 2, 'Free gates after a sweep')
  checkFree(survivor, publishing)
}

/** A subscriber without a gate that is stopped holds back nobody. One with a gate is named, and then demoted. */
function publishBesideStopped(_: Survivor<Root>, publishing: Publishing): void {
  const { publisher, reading } = publishing
  for (let count = 0; count < 40; count++) {
    while (!publisher.tryPublish(messageOf(publishing.published))) {
      const held = publisher.gates().filter(({ state, behindBytes }) => state === 'active' && behindBytes > 0)
      expect(held.length > 0, 'A publisher is held back, and no gate is named')
      for (const gate of held) publisher.demote(gate)
    }
    publishing.published++
    expectEqual(reading.readAll().count, publishing.published, 'How many are received or lost')
  }
}

/** A subscriber whose gate was taken away is told that what it was shown, or had begun to give out, is overwritten. */
function orOverrun(take: () => unknown): void {
  try {
    take()
  } catch (error) {
    if (!(error instanceof OverrunError)) throw error
  }
}

function subscriberScenario(
  name: string,
  gate: boolean,
  take: (subscriber: Subscriber, reading: Reading) => void,
  byteLength = SMALL_BYTES,
) {
  return scenario({
    name: `broadcast subscriber: ${name}`,
    layout,
    prepare: preparePublishing,
    meanwhile: (survivor: Survivor<Root>, publishing: Publishing) => publishBeside(survivor, publishing, byteLength),
    victim(victim: Victim<Root>) {
      const { ring } = victim.root
      const subscriber = ring.subscriber({ gate, onOverrun: 'skip' })
      const reading = new Reading(subscriber)
      victim.beginsWhen(() => ring.describe().publishedMessages > 0)
      return () => {
        for (let time = 0; time < 8; time++) take(subscriber, reading)
      }
    },
    check: checkFree,
    checkSwept: checkFreeSwept,
    whileStopped: publishBesideStopped,
  })
}

export const broadcastScenarios: Scenario<unknown>[] = [
  publisherScenario('publishes', 1, (publisher, first) => {
    publisher.publishSync(messageOf(first))
  }),
  publisherScenario('publishes batches', 3, (publisher, first) => {
    publisher.tryPublishBatch([0, 1, 2].map((at) => messageOf(first + at)))
  }),
  publisherScenario('publishes corked', 3, (publisher, first) => {
    publisher.cork()
    for (const at of [0, 1, 2]) publisher.tryPublish(messageOf(first + at))
    publisher.uncork()
  }),
  publisherScenario('publishes in place', 1, (publisher, first) => {
    const byteOffset = publisher.tryClaim(SMALL_BYTES)
    publisher.bytes.set(messageOf(first), byteOffset)
    publisher.commit()
  }),
  publisherScenario('publishes in fragments', 1, (publisher, first) => {
    publisher.publishSync(messageOf(first, LARGE_BYTES))
  }),
  scenario({
    name: 'broadcast publisher: succeeds one that died inside a message',
    layout,
    prepare(survivor: Survivor<Root>) {
      const reading = prepareReading(survivor)
      survivor.bury()
      reading.readAll()
      return reading
    },
    predecessor(victim: Victim<Root>) {
      const { ring, told } = victim.root
      const publisher = ring.publisher()
      return () => {
        told[BEGUN] = 1
        victim.dieBefore(6, 'store')
        publisher.publishSync(messageOf(0, LARGE_BYTES))
      }
    },
    victim({ root: { ring, told } }: Victim<Root>) {
      return () => {
        const publisher = ring.publisher()
        const before = ring.describe().publishedMessages
        told[SENT] = before
        told[BEGUN] = 1
        publisher.publishSync(messageOf(before))
        told[SENT]++
        told[BEGUN] = 0
        publisher.close()
      }
    },
    check: checkPublished,
    checkSwept: checkPublished,
  }),
  subscriberScenario('receives without a gate', false, (_, reading) => {
    reading.readAll()
  }),
  subscriberScenario('receives', true, (_, reading) => {
    reading.readAll()
  }),
  subscriberScenario('receives batches', true, (subscriber) => {
    subscriber.tryReceiveBatch(4)
    subscriber.acknowledge()
  }),
  subscriberScenario('drains', true, (subscriber) => {
    orOverrun(() => subscriber.drain(() => {}))
  }),
  subscriberScenario(
    'receives chunks',
    true,
    (subscriber) => {
      orOverrun(() => subscriber.receiveChunkSync({ timeoutMs: 5 }))
    },
    LARGE_BYTES,
  ),
  scenario({
    name: 'broadcast subscriber: joins',
    layout,
    prepare: preparePublishing,
    meanwhile: publishBeside,
    victim({ root }: Victim<Root>) {
      return () => {
        for (let time = 0; time < 3; time++) {
          const subscriber = root.ring.subscriber({ gate: true, from: 'oldest', onOverrun: 'skip' })
          subscriber.tryReceive()
          subscriber.close()
        }
      }
    },
    check: checkFree,
    checkSwept: checkFreeSwept,
    whileStopped: publishBesideStopped,
  }),
  scenario({
    name: 'broadcast subscriber: takes a gate, and is demoted',
    layout,
    prepare: preparePublishing,
    meanwhile: publishBeside,
    victim({ root: { ring } }: Victim<Root>) {
      const subscriber = ring.subscriber({ onOverrun: 'skip' })
      return () => {
        for (let time = 0; time < 3; time++) {
          subscriber.tryTakeGate()
          for (const gate of ring.describe().gates) ring.demote(gate)
          subscriber.tryReceive()
        }
      }
    },
    check: checkFree,
    checkSwept: checkFreeSwept,
    whileStopped: publishBesideStopped,
  }),
]
