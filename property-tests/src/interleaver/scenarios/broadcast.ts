import {
  type BroadcastRing,
  broadcastRing,
  type Publisher,
  type Subscriber,
  type SubscriberOptions,
} from '@isthmus/ring'
import type { HeapRegion } from '@isthmus/sync'
import {
  CHECKPOINTS,
  CHECKPOINTS_OFFSET,
  INTENT_OFFSET,
  NO_CHECKPOINT,
  NUMBER_BYTES,
  NUMBERS_OFFSET,
  recordsOffsetOf,
  WRITE_POSITION_OFFSET,
} from '../../../../packages/ring/src/broadcast/layout.js'
import { type AgentTools, agent, type Ending, type RegionWords, type Scenario, scenario } from '../scenario.js'
import { broadcastNames } from '../word-names.js'

/** The number of the first message: the low word of the numbers wraps with the second one. */
const FIRST_NUMBER = 2n ** 32n - 1n

/** A message whose record takes half of a ring of 64 bytes: the next but one overwrites all of it. */
const WORDS_BYTES = 12

/** A message that a subscriber was given, and how many it had lost by then. */
type Seen = readonly [value: number, lost: number]

/** What a subscriber was given until the publisher closed. */
interface Received {
  readonly seen: readonly Seen[]
  readonly lost: number
  readonly deaths: number
}

/** The words of a broadcast ring at the start of the root, read as layout.ts explains them: apart from the code that is under test. */
class BroadcastMemory {
  readonly #words: Int32Array
  readonly #start: number
  readonly #capacityBytes: number

  constructor({ words, rootByteOffset }: RegionWords, capacityBytes: number) {
    this.#words = words
    this.#start = rootByteOffset
    this.#capacityBytes = capacityBytes
  }

  /** Everything begins here, as if so much had gone by. */
  startAt(position: bigint): void {
    const low = Number(BigInt.asIntN(32, position))
    for (const offset of [WRITE_POSITION_OFFSET, INTENT_OFFSET]) {
      this.#words[this.#wordOf(offset)] = low
      this.#words[this.#wordOf(offset) + 1] = Number(BigInt.asIntN(32, position >> 30n))
    }
    for (const place of [0, 1]) {
      const word = this.#wordOf(NUMBERS_OFFSET + place * NUMBER_BYTES)
      const number = [Number(BigInt.asIntN(32, FIRST_NUMBER)), Number(FIRST_NUMBER >> 32n)]
      this.#words.set([low, ...number, 0], word)
    }
    const checkpoints = this.#wordOf(CHECKPOINTS_OFFSET)
    this.#words.fill(low, checkpoints, checkpoints + CHECKPOINTS)
  }

  /** How many whole messages were published; undefined if no number belongs to the write position. */
  get published(): number | undefined {
    for (const place of [0, 1]) {
      const word = this.#wordOf(NUMBERS_OFFSET + place * NUMBER_BYTES)
      const [position, low, high] = this.#words.subarray(word, word + 3)
      if (position !== this.#words[this.#wordOf(WRITE_POSITION_OFFSET)]) continue
      return Number((BigInt(high >>> 0) << 32n) + BigInt(low >>> 0) - FIRST_NUMBER)
    }
    return undefined
  }

  /** At every moment, whatever the publisher does or has left half-done. */
  wrongMoment(): string | undefined {
    const [write, intent] = [this.#positionAt(WRITE_POSITION_OFFSET), this.#positionAt(INTENT_OFFSET)]
    if (write === undefined || intent === undefined) return 'the words of a position are none'
    const ahead = BigInt.asIntN(62, intent - write)
    if (ahead < 0n || ahead > BigInt(this.#capacityBytes)) return `the intent is ${ahead} bytes ahead`
    if (this.published === undefined) return 'no number belongs to the write position'
    const checkpoints = this.#wordOf(CHECKPOINTS_OFFSET)
    for (const checkpoint of this.#words.subarray(checkpoints, checkpoints + CHECKPOINTS)) {
      const behind = (this.#words[this.#wordOf(WRITE_POSITION_OFFSET)] - checkpoint) | 0
      if (checkpoint !== NO_CHECKPOINT && behind < 0) return `a checkpoint is ${-behind} bytes ahead`
    }
    return undefined
  }

  #positionAt(offset: number): bigint | undefined {
    const low = BigInt(this.#words[this.#wordOf(offset)] >>> 0)
    const era = BigInt(this.#words[this.#wordOf(offset) + 1] >>> 0)
    const behind = (era - (low >> 30n)) & 3n
    return behind > 1n ? undefined : BigInt.asUintN(62, ((era - behind) << 30n) + (low & (2n ** 30n - 1n)))
  }

  #wordOf(offset: number): number {
    return (this.#start + offset) >>> 2
  }
}

type Way = 'receiveSync' | 'receiveBatchSync' | 'drain' | 'chunks' | 'into'

/** A case of a ring that has published up to `start`, and what its scenarios share. */
class BroadcastCase {
  readonly layout
  readonly #capacityBytes: number
  readonly #gates: number
  readonly #start: bigint

  constructor(capacityBytes: number, gates: number, start: bigint) {
    this.layout = broadcastRing({ capacityBytes, gates, ...(gates > 0 && { maxMessageBytes: 256 }) })
    this.#capacityBytes = capacityBytes
    this.#gates = gates
    this.#start = start
  }

  scenario(definition: {
    readonly name: string
    readonly about: string
    readonly agents: Scenario<BroadcastRing>['agents']
    readonly mayCrash?: readonly string[]
    /** Agents that return what they have received, from which message on, and whether they may lose none. */
    readonly readers: Readonly<Record<string, { readonly from?: number; readonly losesNone?: boolean }>>
    /** How many messages are published in the end. */
    readonly published: number
    check?(ending: Ending): string | undefined
  }): Scenario<BroadcastRing> {
    const { readers, published, check, ...rest } = definition
    return scenario({
      ...rest,
      ...broadcastNames('ring', 0, this.#capacityBytes, this.#gates),
      layout: this.layout,
      briefSeconds: 0.4,
      racedFromByteOffset: recordsOffsetOf(this.#gates),
      setUp: (region) => new BroadcastMemory(region, this.#capacityBytes).startAt(this.#start),
      invariant: (region) => new BroadcastMemory(region, this.#capacityBytes).wrongMoment(),
      check: (ending) => {
        const found = new BroadcastMemory(ending.region, this.#capacityBytes).published ?? -1
        if (ending.crashed !== 'publisher' && found !== published) return `${found} are published, and not ${published}`
        for (const [reader, expected] of Object.entries(readers)) {
          const received = ending.returned(reader) as Received | undefined
          const wrong = received && wrongReceived(received, expected)
          if (wrong !== undefined) return `${reader}: ${wrong}`
          const all = received && received.seen.length + received.lost + (expected.from ?? 0)
          // A publisher that was killed after it had closed has told its end before its successor began.
          const isAll = all === undefined || all === found || (ending.crashed === 'publisher' && all === found - 1)
          if (!isAll && expected.from !== -1)
            return `${reader}: has received or lost ${all}, and ${found} are published`
        }
        return check?.(ending)
      },
    })
  }

  /** Publishes these messages, each with a call that waits for space, and closes. */
  publishes(count: number, { byteLength = WORDS_BYTES, before = 0, batch = false } = {}) {
    return agent(this.layout, {
      prepare(tools) {
        const publisher = tools.attach().root.publisher()
        for (let value = 0; value < before; value++) publisher.publishSync(messageOf(value, byteLength))
        return publisher
      },
      run(publisher) {
        const messages = Array.from({ length: count }, (_, at) => messageOf(before + at, byteLength))
        if (batch) publisher.publishBatchSync(messages)
        else for (const message of messages) publisher.publishSync(message)
        publisher.close()
      },
    })
  }

  /** Writes messages in place while it holds them back, publishes them together, and closes. */
  corks(count: number) {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.publisher(),
      run(publisher) {
        publisher.cork()
        for (let value = 0; value < count; value++) {
          publisher.tryClaim(4)
          publisher.abort()
          publisher.tryPublish(messageOf(value, 4))
        }
        publisher.uncork()
        publisher.close()
      },
    })
  }

  /** Publishes; if there is no space, takes their gates away from those that hold it back. */
  demotes(count: number) {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.publisher(),
      run(publisher) {
        for (let value = 0; value < count; value++) {
          while (!publisher.tryPublish(messageOf(value, WORDS_BYTES))) demoteAll(publisher)
        }
        publisher.close()
      },
    })
  }

  /** Receives until the publisher has closed. */
  receives(options: SubscriberOptions, way: Way = 'receiveSync') {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.subscriber(options),
      run: (subscriber) => receiveAll(subscriber, way),
    })
  }

  /** Begins to receive while the publisher publishes. Another subscriber, without a gate, tells it the end, which may be told before it joins. */
  joins(options: SubscriberOptions) {
    return agent(this.layout, {
      prepare(tools) {
        const { root } = tools.attach()
        return { root, early: root.subscriber() }
      },
      run({ root, early }): Received {
        const subscriber = root.subscriber(options)
        const seen: Seen[] = []
        for (let isOver = false; ; ) {
          const message = tryReceive(subscriber)
          if (message) seen.push([valueIn(message), subscriber.lost])
          else if (message === null || isOver) return { seen, lost: subscriber.lost, deaths: 0 }
          else isOver = early.receiveSync() === null
        }
      },
    })
  }

  /** Begins without a gate, and takes one while the publisher publishes. */
  takesGate() {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.subscriber(),
      run(subscriber) {
        if (!subscriber.tryTakeGate()) throw new Error('there was no gate')
        return receiveAll(subscriber, 'receiveSync')
      },
    })
  }

  /** The same on an event loop. */
  awaits() {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.subscriber(),
      async run(subscriber) {
        const seen: Seen[] = []
        for (;;) {
          const message = await subscriber.receive()
          if (message === null) return { seen, lost: subscriber.lost, deaths: 0 }
          seen.push([valueIn(message), subscriber.lost])
        }
      },
    })
  }

  /** Declares the death of an agent that has crashed. */
  cleansUp() {
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return
        region.declareDead(dead)
        tools.endSlices()
      },
    })
  }

  /** The same, becomes the publisher, publishes one message, and closes. */
  succeeds() {
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return
        region.declareDead(dead)
        const publisher = region.root.publisher()
        // The next number tells which message comes next: a killed publisher may have published fewer than it was to.
        publisher.publishSync(messageOf(region.root.describe().publishedMessages - Number(FIRST_NUMBER), 4))
        publisher.close()
        tools.endSlices()
      },
    })
  }
}

/** Undefined for an overrun, too: the next call goes on. */
function tryReceive(subscriber: Subscriber): Uint8Array | undefined | null {
  try {
    return subscriber.tryReceive()
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_ISTHMUS_OVERRUN') throw error
    return subscriber.tryReceive()
  }
}

function openFor(tools: AgentTools<BroadcastRing>): HeapRegion<BroadcastRing> {
  const region = tools.attach()
  void region.root.capacityBytes
  return region
}

function messageOf(value: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).fill(value + 1)
}

/** Which message this is; -1 for one whose bytes are not all of the same message. */
function valueIn(bytes: Uint8Array): number {
  const [first] = bytes
  return bytes.every((byte) => byte === first) ? first - 1 : -1
}

function demoteAll(publisher: Publisher): void {
  for (const gate of publisher.gates()) if (gate.state === 'active') publisher.demote(gate)
}

function receiveAll(subscriber: Subscriber, way: Way): Received {
  const seen: Seen[] = []
  let deaths = 0
  const into = new Uint8Array(128)
  for (;;) {
    try {
      const found = receiveSome(subscriber, way, into)
      if (found === null) return { seen, lost: subscriber.lost, deaths }
      seen.push(...found)
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'ERR_ISTHMUS_PEER_DIED') deaths++
      else if (code !== 'ERR_ISTHMUS_OVERRUN' && code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') throw error
    }
  }
}

function receiveSome(subscriber: Subscriber, way: Way, into: Uint8Array): Seen[] | null {
  const seenOf = (bytes: Uint8Array): Seen => [valueIn(bytes), subscriber.lost]
  if (way === 'receiveSync' || way === 'into') {
    const message = way === 'into' ? subscriber.receiveSync({ into }) : subscriber.receiveSync()
    return message && [seenOf(message)]
  }
  if (way === 'receiveBatchSync') {
    const first = subscriber.receiveBatchSync({ maxMessages: 1 })
    // How much a batch has lost between two of its messages is not told: the count before it and after it are.
    const more = first && subscriber.tryReceiveBatch(1)
    return first && [...first, ...(more ?? [])].map(seenOf)
  }
  if (way === 'chunks') {
    const bytes: number[] = []
    for (;;) {
      const chunk = subscriber.receiveChunkSync()
      if (chunk === null) return null
      if (chunk.messageOffset === 0) bytes.length = 0
      bytes.push(...chunk.bytes)
      if (chunk.isLast) return [seenOf(Uint8Array.from(bytes))]
    }
  }
  let shown: Seen | undefined
  const count = subscriber.drain(
    (bytes, from, byteLength) => {
      shown = seenOf(bytes.slice(from, from + byteLength))
    },
    { limit: 1 },
  )
  // What was shown and then found to be overwritten has thrown an OverrunError.
  if (count === 0) {
    const message = subscriber.receiveSync()
    return message && [seenOf(message)]
  }
  return count === null ? null : [shown as Seen]
}

/** Each message is whole, and the one that comes after those that were received and lost before it. */
function wrongReceived(
  { seen, lost }: Received,
  { from = 0, losesNone = false }: { from?: number; losesNone?: boolean },
): string | undefined {
  if (losesNone && lost > 0) return `${lost} were lost`
  const first = from === -1 ? (seen[0]?.[0] ?? 0) - (seen[0]?.[1] ?? 0) : from
  for (const [at, [value, lostBefore]] of seen.entries()) {
    if (value !== first + at + lostBefore) return `message ${value} comes after ${at} received and ${lostBefore} lost`
  }
  return undefined
}

/** Two records fit, and the low word becomes negative with the second one. */
const small = new BroadcastCase(64, 0, 2n ** 31n - 32n)
const corked = new BroadcastCase(128, 0, 2n ** 30n - 24n)
const taken = new BroadcastCase(64, 0, 2n ** 32n - 32n)
const gated = new BroadcastCase(64, 1, 2n ** 62n - 32n)
const demoted = new BroadcastCase(64, 1, 2n ** 30n - 32n)
/** A message of 20 bytes has two fragments, which fill the ring. */
const large = new BroadcastCase(64, 1, 2n ** 32n - 64n)

export const broadcastScenarios = [
  small.scenario({
    name: 'broadcast-overrun',
    about:
      'A publisher publishes three messages to a ring of two, while a subscriber receives: each message is whole, in its order, and those that are missing are counted.',
    agents: { publisher: small.publishes(3), subscriber: small.receives({}) },
    readers: { subscriber: {} },
    published: 3,
  }),
  small.scenario({
    name: 'broadcast-overrun-in-place',
    about: 'The same with a subscriber that looks in place, into which a publisher runs in the midst of its callback.',
    agents: { publisher: small.publishes(3), subscriber: small.receives({}, 'drain') },
    readers: { subscriber: {} },
    published: 3,
  }),
  corked.scenario({
    name: 'broadcast-overrun-corked',
    about:
      'A publisher holds back two messages of a ring of five at a time, and publishes six, while a subscriber receives into memory of its own.',
    agents: { publisher: corked.corks(6), subscriber: corked.receives({}, 'into') },
    readers: { subscriber: {} },
    published: 6,
  }),
  large.scenario({
    name: 'broadcast-overrun-fragments',
    about:
      'A publisher has published a message in fragments, and publishes another one, each of which fills the ring, while a subscriber receives: each is whole, or counted as lost.',
    agents: { subscriber: large.receives({}), publisher: large.publishes(1, { byteLength: 20, before: 1 }) },
    readers: { subscriber: {} },
    published: 2,
  }),
  large.scenario({
    name: 'broadcast-overrun-chunks',
    about: 'The same with a subscriber that receives chunks.',
    agents: { subscriber: large.receives({}, 'chunks'), publisher: large.publishes(1, { byteLength: 20, before: 1 }) },
    readers: { subscriber: {} },
    published: 2,
  }),
  taken.scenario({
    name: 'broadcast-publisher-takeover',
    about:
      'A publisher of two messages may be killed anywhere, and its successor publishes one. A subscriber receives, or counts as lost, exactly what was published.',
    agents: { publisher: taken.publishes(2), subscriber: taken.receives({}), successor: taken.succeeds() },
    mayCrash: ['publisher'],
    readers: { subscriber: {} },
    published: 2,
  }),
  large.scenario({
    name: 'broadcast-takeover-fragments',
    about:
      'A publisher of a message in fragments may be killed anywhere, and its successor publishes one more. A subscriber is told of a message that stays incomplete, and goes on.',
    agents: {
      publisher: large.publishes(1, { byteLength: 20 }),
      subscriber: large.receives({}),
      successor: large.succeeds(),
    },
    mayCrash: ['publisher'],
    readers: { subscriber: {} },
    published: 1,
  }),
  gated.scenario({
    name: 'broadcast-join-gate',
    about:
      'A publisher publishes three messages to a ring of two, while a subscriber takes a gate and receives: from its first message on it loses none.',
    agents: { publisher: gated.publishes(3), subscriber: gated.joins({ gate: true }) },
    readers: { subscriber: { from: -1, losesNone: true } },
    published: 3,
  }),
  gated.scenario({
    name: 'broadcast-take-gate',
    about:
      'A subscriber without a gate takes one while a publisher publishes three messages to a ring of two: it counts what it has lost before, and nobody waits without end.',
    agents: { publisher: gated.publishes(3), subscriber: gated.takesGate() },
    readers: { subscriber: {} },
    published: 3,
  }),
  gated.scenario({
    name: 'broadcast-gate',
    about: 'A subscriber with a gate loses none of three messages that are published to a ring of two, as a batch.',
    agents: {
      publisher: gated.publishes(3, { batch: true }),
      subscriber: gated.receives({ gate: true }, 'receiveBatchSync'),
    },
    readers: { subscriber: { losesNone: true } },
    published: 3,
  }),
  demoted.scenario({
    name: 'broadcast-demote-while-copying',
    about:
      'A publisher takes its gate away from a subscriber that holds it back. The subscriber reads on, and counts what it has lost.',
    agents: { publisher: demoted.demotes(4), subscriber: demoted.receives({ gate: true, onOverrun: 'skip' }) },
    readers: { subscriber: {} },
    published: 4,
  }),
  small.scenario({
    name: 'broadcast-sleep-and-publish',
    about:
      'A thread and an event loop wait for messages, while a publisher publishes one and closes. Both get it, and the end.',
    agents: { publisher: small.publishes(1), subscriber: small.receives({}), loop: small.awaits() },
    readers: { subscriber: { losesNone: true }, loop: { losesNone: true } },
    published: 1,
  }),
  gated.scenario({
    name: 'broadcast-gate-crash',
    about:
      'A subscriber with a gate may be killed anywhere, also while it takes the gate; its death is declared. The publisher publishes all of its four messages.',
    agents: {
      publisher: gated.publishes(4),
      subscriber: gated.joins({ gate: true }),
      janitor: gated.cleansUp(),
    },
    mayCrash: ['subscriber'],
    readers: { subscriber: { from: -1, losesNone: true } },
    published: 4,
  }),
  taken.scenario({
    name: 'broadcast-oldest',
    about:
      'A subscriber begins with the oldest messages of a ring that is full, while a publisher publishes two more: it counts what it loses from its first message on.',
    agents: {
      publisher: taken.publishes(2, { before: 3 }),
      subscriber: taken.joins({ from: 'oldest' }),
    },
    readers: { subscriber: { from: -1 } },
    published: 5,
  }),
  gated.scenario({
    name: 'broadcast-oldest-gate',
    about: 'The same with a gate: what is published after it was taken is not lost, and nobody waits without end.',
    agents: {
      publisher: gated.publishes(2, { before: 2 }),
      subscriber: gated.joins({ from: 'oldest', gate: true }),
    },
    readers: { subscriber: { from: -1 } },
    published: 4,
  }),
]
