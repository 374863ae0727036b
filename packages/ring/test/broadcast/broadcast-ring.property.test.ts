import type { HeapRegion } from '@isthmus/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BroadcastRing, OverrunError, type Publisher, type Subscriber } from '../../src/index.js'
import { type BroadcastSetup, createBroadcast } from '../support/broadcast-memory.js'
import { endHold } from '../support/ring-memory.js'

const SUBSCRIBERS_MAX = 4
const ID_BYTES = 4

interface Sent {
  readonly bytes: Uint8Array
  /** The message before it ended here or later. */
  readonly start: bigint
}

/** A subscriber, and what is known of it. Messages have the numbers of their places in the array of what was sent. */
interface Reader {
  readonly subscriber: Subscriber
  readonly throwsOnOverrun: boolean
  /** The message that comes next, if none is lost; undefined for one that begins with history and has received none of it. */
  next: number | undefined
  /** How many messages it is known to have missed. */
  missed: number
  /** A message that a drain has shown before it found an overrun: it is lost, or counts as received. */
  doubtful: number | undefined
  /** From this message on nothing may be lost: it has a gate. */
  gatedFrom: number | undefined
  /** The parts of a message that comes in chunks. */
  parts: Uint8Array[]
}

/** Random calls of one publisher and several subscribers in one thread, beside a plain array of what was sent. */
class World {
  readonly #setup: BroadcastSetup
  readonly #firstNumber: bigint
  readonly #readers: Reader[] = []
  #publisherRegion: HeapRegion<BroadcastRing> | undefined
  #publisher: Publisher | undefined
  #isCorked = false
  #isDeathUntold = false
  /** What was accepted, in order. Corked messages may not be visible yet. */
  readonly #sent: Sent[] = []
  #ids = 0
  /** The last message that was accepted ends here or later. */
  #end: bigint
  #aborted = 0
  readonly counts: Counts

  constructor(capacityBytes: number, gates: number, start: bigint, firstNumber: bigint, counts: Counts) {
    const options = gates > 0 ? { capacityBytes, gates, maxMessageBytes: capacityBytes * 2 } : { capacityBytes }
    this.#setup = createBroadcast(options, start, firstNumber)
    this.#firstNumber = firstNumber
    this.#end = start
    this.counts = counts
    this.#join(0)
  }

  /** How many messages subscribers can see. */
  get #visible(): number {
    const { next } = this.#setup.memory
    if (next === undefined) throw new Error('The write position has no number')
    return Number(next.number - this.#firstNumber)
  }

  step(command: number, which: number, size: number): void {
    if (command < 3) this.#publish(this.#lengthOf(size), command)
    else if (command === 3) this.#publishBatch(size)
    else if (command === 4) this.#claim(size)
    else if (command === 5) this.#cork()
    else if (command === 6) this.#endPublisher(size)
    else if (command === 7) this.#join(which)
    else if (command === 8) this.#gate(which, size)
    else
      for (let call = 0; call <= size % 5; call++) this.#receive(this.#readers[which % this.#readers.length], size >> 3)
  }

  /** Everything that is visible is received by all of them, or counted. */
  finish(): void {
    if (this.#isCorked) this.#cork()
    expect(this.#visible).toBe(this.#sent.length)
    for (const reader of this.#readers) {
      for (let calls = 0; !this.#receive(reader, 0); calls++) if (calls > 10_000) throw new Error('It never ends')
      if (reader.next !== undefined)
        expect(reader.next + reader.subscriber.lost - reader.missed).toBe(this.#sent.length)
      reader.subscriber.close()
    }
    expect(this.#setup.ring.describe().gates).toEqual([])
  }

  #lengthOf(size: number): number {
    const { maxRecordBytes, maxMessageBytes } = this.#setup.ring
    if (size % 16 === 0) return maxRecordBytes - (size % 3)
    if (size % 16 === 1) return maxMessageBytes - (size % 5)
    return ID_BYTES + (size % (Math.min(maxRecordBytes, 80) - ID_BYTES))
  }

  #message(byteLength: number): Uint8Array {
    const id = this.#ids++
    const message = Uint8Array.from({ length: byteLength }, (_, at) => id * 37 + at * 11)
    new DataView(message.buffer).setUint32(0, id)
    return message
  }

  /** Becomes the publisher, if there is none. */
  #publishing(): Publisher {
    if (this.#publisher === undefined) {
      this.#publisherRegion = this.#setup.attach()
      this.#publisher = this.#publisherRegion.root.publisher()
      this.#isDeathUntold = false
    }
    return this.#publisher
  }

  #accept(...messages: Uint8Array[]): void {
    for (const bytes of messages) this.#sent.push({ bytes, start: this.#end })
    if (messages.length > 0) this.#end = this.#setup.memory.writePosition
  }

  #publish(byteLength: number, how: number): void {
    const publisher = this.#publishing()
    const bytes = this.#message(byteLength)
    const isLarge = byteLength > publisher.maxRecordBytes
    const isSent = isLarge || how === 0 ? publisher.publishSync(bytes, { timeoutMs: 0 }) : publisher.tryPublish(bytes)
    if (isSent) this.#accept(bytes)
    else if (isLarge) this.#aborted++
    if (!isSent) this.#expectHeldBack()
  }

  #publishBatch(size: number): void {
    const publisher = this.#publishing()
    const lengthsEnd = Math.min(publisher.maxRecordBytes, 60) - ID_BYTES
    const batch = Array.from({ length: size % 9 }, (_, at) =>
      this.#message(ID_BYTES + ((size * (at + 3)) % lengthsEnd)),
    )
    const count = publisher.tryPublishBatch(batch)
    this.#accept(...batch.slice(0, count))
    if (count < batch.length) this.#expectHeldBack()
  }

  #claim(size: number): void {
    const publisher = this.#publishing()
    const claimed = Math.min(this.#lengthOf(size), publisher.maxRecordBytes)
    const byteOffset = publisher.tryClaim(claimed)
    if (byteOffset === -1) {
      this.#expectHeldBack()
      return
    }
    publisher.bytes.fill(0xee, byteOffset, byteOffset + claimed)
    if (size % 3 === 0) {
      publisher.abort()
      return
    }
    const bytes = this.#message(claimed)
    publisher.bytes.set(bytes, byteOffset)
    publisher.commit()
    this.#accept(bytes)
  }

  #cork(): void {
    const publisher = this.#publishing()
    if (this.#isCorked) publisher.uncork()
    else publisher.cork()
    this.#isCorked = !this.#isCorked
  }

  /** Closes, or dies: then what it had corked is lost with it. */
  #endPublisher(size: number): void {
    if (this.#publisher === undefined) return
    if (size % 2 === 0) {
      this.#publisher.close()
      expect(this.#visible).toBe(this.#sent.length)
    } else {
      endHold(this.#setup.region, (this.#publisherRegion as HeapRegion<BroadcastRing>).peers.self)
      this.#isDeathUntold = true
      this.#end = this.#sent[this.#visible]?.start ?? this.#end
      this.#sent.length = this.#visible
    }
    this.#publisher = undefined
    this.#isCorked = false
  }

  #join(which: number): void {
    if (this.#readers.length === SUBSCRIBERS_MAX) this.#readers.splice(which % SUBSCRIBERS_MAX, 1)[0].subscriber.close()
    const from = which % 2 === 0 ? 'latest' : 'oldest'
    const throwsOnOverrun = which % 4 > 1
    const onOverrun = throwsOnOverrun ? 'throw' : 'skip'
    const subscriber = this.#setup.attach().root.subscriber({ from, onOverrun })
    const next = from === 'latest' ? this.#visible : undefined
    this.#readers.push({
      subscriber,
      throwsOnOverrun,
      next,
      missed: 0,
      doubtful: undefined,
      gatedFrom: undefined,
      parts: [],
    })
  }

  /** A subscriber takes a gate, or the publisher or a tool takes one away. */
  #gate(which: number, size: number): void {
    const reader = this.#readers[which % this.#readers.length]
    if (size % 3 !== 0) {
      if (reader.subscriber.isGating) return
      const isTaken = reader.subscriber.tryTakeGate()
      const { freeGates } = this.#setup.ring.describe()
      if (!isTaken) expect(freeGates).toBe(0)
      if (isTaken) reader.gatedFrom = this.#visible
      return
    }
    const gates = this.#setup.ring.describe().gates.filter(({ state }) => state === 'active')
    if (gates.length === 0) return
    expect((this.#publisher ?? this.#setup.ring).demote(gates[which % gates.length])).toBe(true)
    for (const each of this.#readers) if (!each.subscriber.isGating) each.gatedFrom = undefined
  }

  /** A publisher that finds no space has a gate that keeps it. */
  #expectHeldBack(): void {
    const { gates } = this.#setup.ring.describe()
    expect(gates.filter(({ state, behindBytes }) => state === 'active' && behindBytes > 0)).not.toEqual([])
  }

  /** Returns whether nothing is there any more. */
  #receive(reader: Reader, how: number): boolean {
    try {
      return this.#receiveNow(reader, how)
    } catch (error) {
      if (error instanceof OverrunError) {
        const isShown = reader.doubtful !== undefined || reader.parts.length > 0
        if (!isShown) expect(reader.throwsOnOverrun || how % 7 === 4).toBe(true)
        if (reader.next !== undefined) expect(reader.subscriber.lost).toBeGreaterThan(reader.missed)
        reader.parts = []
        return false
      }
      const { code } = error as { code?: string }
      if (code === 'ERR_ISTHMUS_PEER_DIED') {
        expect(this.#isDeathUntold).toBe(true)
        this.#expectNothing(reader)
        return false
      }
      if (code === 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') {
        expect(this.#aborted).toBeGreaterThan(0)
        reader.parts = []
        return false
      }
      throw error
    }
  }

  #receiveNow(reader: Reader, how: number): boolean {
    const { subscriber } = reader
    const kind = how % 7
    if (reader.parts.length > 0 || kind === 6) return this.#receiveChunk(reader)
    if (kind === 4) return this.#drain(reader, how)
    if (kind === 3) {
      const batch = subscriber.tryReceiveBatch(1 + (how % 5))
      for (const message of batch ?? []) this.#note(reader, message)
      return this.#isOver(reader, batch)
    }
    let message: Uint8Array | undefined | null
    if (kind === 1) message = subscriber.receiveSync({ timeoutMs: 0 })
    else if (kind === 2) message = subscriber.tryReceive({ into: new Uint8Array(this.#setup.ring.maxMessageBytes) })
    else message = subscriber.tryReceive()
    if (this.#isOver(reader, message)) return true
    this.#note(reader, message as Uint8Array)
    expect(reader.missed).toBe(subscriber.lost)
    return false
  }

  #receiveChunk(reader: Reader): boolean {
    let chunk: ReturnType<Subscriber['tryReceiveChunk']>
    try {
      chunk = reader.subscriber.tryReceiveChunk()
    } catch (error) {
      // The message under way is being received whole.
      if (reader.parts.length === 0 && (error as { code?: string }).code === 'ERR_ISTHMUS_CALL_ORDER') return false
      throw error
    }
    if (chunk === undefined || chunk === null) {
      if (reader.parts.length > 0) throw new Error('A message has no more chunks')
      return this.#isOver(reader, chunk)
    }
    expect(chunk.messageOffset).toBe(reader.parts.reduce((sum, { byteLength }) => sum + byteLength, 0))
    reader.parts.push(chunk.bytes)
    if (!chunk.isLast) return false
    const message = new Uint8Array(Buffer.concat(reader.parts))
    expect(message.byteLength).toBe(chunk.messageByteLength)
    reader.parts = []
    this.#note(reader, message)
    return false
  }

  /** The callback may publish, and so overwrite what it is shown. */
  #drain(reader: Reader, how: number): boolean {
    const shown: Uint8Array[] = []
    const more = how % 8 === 4 && !this.#isCorked ? how % 23 : 0
    let count: number | null
    try {
      count = reader.subscriber.drain(
        (bytes, byteOffset, byteLength) => {
          shown.push(bytes.slice(byteOffset, byteOffset + byteLength))
          for (let published = 0; published < more; published++) this.#publish(40, 1)
        },
        { limit: 1 + (how % 4) },
      )
    } catch (error) {
      const doubtful = error instanceof OverrunError ? shown.pop() : undefined
      for (const message of shown) this.#note(reader, message)
      // It may have been overwritten already when it was shown.
      reader.doubtful = doubtful && (this.#numberOf(doubtful) ?? -1)
      throw error
    }
    for (const message of shown) this.#note(reader, message)
    expect(count ?? 0).toBe(shown.length)
    return count === 0 || count === null ? this.#isOver(reader, count ?? undefined) : false
  }

  /** Whether a call has found nothing. Then it is right. */
  #isOver(reader: Reader, outcome: unknown): boolean {
    if (outcome === null) expect(this.#publisher).toBeUndefined()
    if (outcome !== undefined && outcome !== null && outcome !== 0) return false
    this.#expectNothing(reader)
    return true
  }

  #expectNothing(reader: Reader): void {
    const { next, subscriber, missed, doubtful } = reader
    if (next === undefined) return
    const end = next + subscriber.lost - missed
    if (end + (doubtful === next ? 1 : 0) !== this.#visible && end !== this.#visible) {
      throw new Error(`It says that nothing is there, and message ${end} of ${this.#visible} is`)
    }
  }

  #numberOf(message: Uint8Array): number | undefined {
    const number = this.#sent.findIndex(({ bytes }) => Buffer.compare(bytes, message) === 0)
    return number < 0 ? undefined : number
  }

  #note(reader: Reader, message: Uint8Array): void {
    const number = this.#numberOf(message)
    if (number === undefined) throw new Error(`It has received what was never sent, ${message}`)
    if (number >= this.#visible)
      throw new Error(`It has received message ${number}, and ${this.#visible} are published`)
    const { subscriber, doubtful } = reader
    this.counts.received++
    if (reader.next === undefined) {
      reader.next = number
      reader.missed = subscriber.lost
    }
    if (doubtful !== undefined && doubtful === reader.next && number - reader.next > subscriber.lost - reader.missed)
      reader.next++
    reader.doubtful = undefined
    const missed = number - reader.next
    if (missed < 0) throw new Error(`Message ${number} came after message ${reader.next - 1}`)
    if (missed > subscriber.lost - reader.missed) {
      throw new Error(
        `Messages ${reader.next} to ${number - 1} are missing, and ${subscriber.lost - reader.missed} are told`,
      )
    }
    if (missed > 0) this.#expectOverwritten(reader, reader.next, number)
    reader.missed += missed
    reader.next = number + 1
  }

  #expectOverwritten(reader: Reader, from: number, to: number): void {
    this.counts.lost += to - from
    if (reader.gatedFrom !== undefined && to > reader.gatedFrom) {
      throw new Error(
        `Messages ${from} to ${to - 1} were lost in spite of a gate, which was taken at message ${reader.gatedFrom}`,
      )
    }
    const { intent, capacityBytes } = this.#setup.memory
    // Positions have 62 bits.
    if (BigInt.asUintN(62, intent - this.#sent[from].start) <= BigInt(capacityBytes)) {
      throw new Error(`Message ${from} was lost, and nothing was written over it`)
    }
  }
}

/** What happened in all programs, so that the test is known to have tested something. */
interface Counts {
  received: number
  lost: number
}

describe('A broadcast ring', () => {
  it.each([
    { capacityBytes: 256, gates: 0 },
    { capacityBytes: 1024, gates: 2 },
    { capacityBytes: 4096, gates: 3 },
  ])('%o: each subscriber gets every message, or counts it, whatever they do', ({ capacityBytes, gates }) => {
    const counts = { received: 0, lost: 0 }
    const command = fc.tuple(fc.nat(14), fc.nat(SUBSCRIBERS_MAX - 1), fc.nat(4000))
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 120, size: 'max' }),
        fc.constantFrom(0n, 2n ** 30n - 400n, 2n ** 31n - 400n, 2n ** 32n - 400n, 2n ** 62n - 400n),
        fc.constantFrom(0n, 2n ** 32n - 9n),
        (commands, start, firstNumber) => {
          const world = new World(capacityBytes, gates, start, firstNumber, counts)
          for (const [command, which, size] of commands) world.step(command, which, size)
          world.finish()
        },
      ),
      { numRuns: Number(process.env.ISTHMUS_RUNS ?? 100) },
    )
    expect(counts.received).toBeGreaterThan(100)
    expect(counts.lost).toBeGreaterThan(100)
  })
})
