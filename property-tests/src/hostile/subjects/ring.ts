import { type Consumer, type MessageChunk, type Producer, type SpscRing, spscRing } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import {
  ABORT,
  DATA,
  FIRST,
  kindWord,
  LAST,
  MIDDLE,
  PADDING,
  recordBytesOf,
} from '../../../../packages/ring/src/record/layout.js'
import {
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../../../packages/ring/src/spsc/layout.js'
import { Breach, type Call } from '../call.js'
import { CANARY_BYTES, type Ground } from '../ground.js'
import { type Mutation, write } from '../memory.js'
import type { Random } from '../random.js'
import { type Subject, shortTimeout, type Users } from '../subject.js'

const CAPACITY_BYTES = 256
export const MAX_MESSAGE_BYTES = 4096
const KINDS = [DATA, DATA, PADDING, FIRST, MIDDLE, LAST, ABORT, 0, 7, 255]

export const ring: Subject = {
  name: 'ring',
  structure: spscRing({ capacityBytes: CAPACITY_BYTES, maxMessageBytes: MAX_MESSAGE_BYTES }),
  enter: (ground) => new RingUsers(ground as Ground<SpscRing>),
  strike: (ground, random) => forgeRecords(ground, random),
}

/** Publishes records where the consumer reads next: some as a producer could write them, some invalid. */
export function forgeRecords({ memory: { words, structure } }: Ground, random: Random): Mutation[] {
  const at = (byteOffset: number) => structure.from + byteOffset / 4
  const readPosition = words[at(READ_POSITION_OFFSET)]
  const mutations: Mutation[] = []
  let bytes = 0
  let openMessage = 0
  for (let count = 1 + random.below(8); count > 0 && bytes < CAPACITY_BYTES; count--) {
    const index = (readPosition + bytes) & (CAPACITY_BYTES - 1) & -8
    const room = Math.min(CAPACITY_BYTES - index, CAPACITY_BYTES - bytes)
    const kind = openMessage > 0 && !random.isOneIn(4) ? random.of([MIDDLE, LAST]) : random.of(KINDS)
    const longest = Math.max(room - 8, 0)
    const byteLength = random.isOneIn(12) ? random.word() : random.isOneIn(3) ? longest : random.below(longest + 1)
    const header = at(RECORDS_OFFSET) + index / 4
    const messageId = kind === DATA && !random.isOneIn(8) ? 0 : random.below(2)
    mutations.push(write(words, header, byteLength), write(words, header + 1, kindWord(kind, messageId)))
    if (kind === FIRST && room >= 16) {
      const total = random.of([byteLength, byteLength + 8, 100, 300, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1, -1])
      mutations.push(write(words, header + 2, total), write(words, header + 3, random.of([0, 0, 0, 0, 1, 2 ** 20, -1])))
    }
    openMessage = kind === FIRST || kind === MIDDLE ? openMessage + 1 : 0
    bytes += random.isOneIn(16) ? 8 * random.below(16) : Math.max(8, recordBytesOf(byteLength) & 0x1ff)
  }
  const end = random.isOneIn(8) ? CAPACITY_BYTES : Math.min(bytes, CAPACITY_BYTES)
  mutations.push(write(words, at(WRITE_POSITION_OFFSET), readPosition + end))
  return mutations
}

class RingUsers implements Users {
  readonly #ground: Ground<SpscRing>
  readonly #producing: SpscRing
  readonly #consuming: SpscRing
  #producer: Producer
  #consumer: Consumer

  constructor(ground: Ground<SpscRing>) {
    this.#ground = ground
    this.#producing = ground.use(ground.first)
    this.#consuming = ground.use(ground.second)
    this.#producer = this.#producing.producer()
    try {
      this.#consumer = this.#consuming.consumer()
    } catch (error) {
      this.#producer.close()
      throw error
    }
  }

  next(random: Random): Call {
    const timeoutMs = shortTimeout(random)
    const choice = random.below(40)
    const small = () => message(random, this.#producer.maxRecordBytes)
    const large = () => message(random, 1000)
    const batch = () => [small(), large(), small(), small()]
    const maxMessages = 1 + random.below(8)
    const { bytes } = this.#consumer
    switch (choice) {
      case 0:
      case 1:
        return { name: 'trySend', run: () => this.#producer.trySend(small()) }
      case 2:
        return { name: 'sendSync', timeoutMs, run: () => this.#producer.sendSync(small(), { timeoutMs }) }
      case 3:
        return { name: 'sendSync large', timeoutMs, run: () => this.#producer.sendSync(large(), { timeoutMs }) }
      case 4:
        return { name: 'send', timeoutMs, run: () => this.#producer.send(large(), { timeoutMs }) }
      case 5:
        return { name: 'trySendBatch', run: () => this.#producer.trySendBatch([small(), small(), small()]) }
      case 6:
        return { name: 'tryClaim, commit', run: () => this.#claim(random.below(120), true) }
      case 7:
        return { name: 'tryClaim, abort', run: () => this.#claim(random.below(120), false) }
      case 8:
        return { name: 'describe', run: () => this.#producing.describe() }
      case 9:
        return { name: 'producer anew', run: () => this.#renewProducer() }
      case 10:
        return { name: 'consumer anew', run: () => this.#renewConsumer() }
      case 11:
        return { name: 'acknowledge', run: () => this.#consumer.acknowledge() }
      case 12:
        return {
          name: 'waitAny',
          timeoutMs,
          run: () => waitAny<Consumer | Producer>([this.#consumer, this.#producer], { timeoutMs }),
        }
      case 13:
      case 14:
        return {
          name: 'drain',
          run: () => this.#consumer.drain((from, offset, length) => this.#checkDrained(from, offset, length)),
        }
      case 15:
        return { name: 'tryReceiveChunk', run: () => checkChunk(this.#consumer.tryReceiveChunk()) }
      case 16: {
        const into = new Uint8Array(random.below(300))
        return { name: 'tryReceiveChunk into', run: () => checkChunk(this.#consumer.tryReceiveChunk({ into })) }
      }
      case 17:
        return {
          name: 'receiveChunkSync',
          timeoutMs,
          run: () => checkChunk(this.#consumer.receiveChunkSync({ timeoutMs })),
        }
      case 18:
        return { name: 'receive', timeoutMs, run: async () => check(await this.#consumer.receive({ timeoutMs })) }
      case 19:
        return { name: 'receiveSync', timeoutMs, run: () => check(this.#consumer.receiveSync({ timeoutMs })) }
      case 20:
        return { name: 'sendBatchSync', timeoutMs, run: () => this.#producer.sendBatchSync(batch(), { timeoutMs }) }
      case 21:
        return { name: 'sendBatch', timeoutMs, run: () => this.#producer.sendBatch(batch(), { timeoutMs }) }
      case 22: {
        const space = this.#producer.spaceFor(random.below(this.#producer.maxRecordBytes + 1))
        return { name: 'spaceFor, waitSync', timeoutMs, run: () => space.waitSync({ timeoutMs }) }
      }
      case 23: {
        const space = this.#producer.spaceFor(random.below(this.#producer.maxRecordBytes + 1))
        return { name: 'spaceFor, wait', timeoutMs, run: () => space.wait({ timeoutMs }) }
      }
      case 24:
      case 25:
        return { name: 'tryReceiveBatch', run: () => checkAll(this.#consumer.tryReceiveBatch(maxMessages)) }
      case 26:
        return {
          name: 'receiveBatchSync',
          timeoutMs,
          run: () => checkAll(this.#consumer.receiveBatchSync({ maxMessages, timeoutMs })),
        }
      case 27:
        return {
          name: 'receiveBatch',
          timeoutMs,
          run: async () => checkAll(await this.#consumer.receiveBatch({ maxMessages, timeoutMs })),
        }
      case 28:
        return {
          name: 'forEach',
          timeoutMs,
          run: () => untilAborted(timeoutMs, (signal) => this.#consumer.forEach(check, { signal })),
        }
      case 29: {
        const isAsync = random.isOneIn(2)
        const callback = (from: Uint8Array, offset: number, length: number) => {
          this.#checkDrained(from, offset, length)
          return isAsync ? Promise.resolve() : undefined
        }
        return {
          name: 'forEachInPlace',
          timeoutMs,
          run: () => untilAborted(timeoutMs, (signal) => this.#consumer.forEachInPlace(callback, { signal })),
        }
      }
      case 30: {
        const into = new Uint8Array(random.below(300))
        return { name: 'tryReceive into', run: () => checkInto(this.#consumer.tryReceive({ into }), into) }
      }
      case 31: {
        const into = new Uint8Array(random.below(MAX_MESSAGE_BYTES))
        return {
          name: 'receiveSync into',
          timeoutMs,
          run: () => checkInto(this.#consumer.receiveSync({ into, timeoutMs }), into),
        }
      }
      case 32: {
        const into = new Uint8Array(random.below(MAX_MESSAGE_BYTES))
        return {
          name: 'receive into',
          timeoutMs,
          run: async () => checkInto(await this.#consumer.receive({ into, timeoutMs }), into),
        }
      }
      default:
        if (bytes.byteLength === 0) throw new Error('A region without bytes')
        return { name: 'tryReceive', run: () => check(this.#consumer.tryReceive()) }
    }
  }

  leave(): Call[] {
    return [
      { name: 'close producer', run: () => this.#producer.close() },
      { name: 'close consumer', run: () => this.#consumer.close() },
    ]
  }

  #claim(byteLength: number, isCommitted: boolean): void {
    const byteOffset = this.#producer.tryClaim(byteLength)
    if (byteOffset === -1) return
    this.#assertInside(byteOffset, byteLength)
    this.#producer.bytes.fill(1, byteOffset, byteOffset + byteLength)
    if (isCommitted) this.#producer.commit()
    else this.#producer.abort()
  }

  #renewProducer(): void {
    this.#producer.close()
    this.#producer = this.#producing.producer()
  }

  #renewConsumer(): void {
    this.#consumer.close()
    this.#consumer = this.#consuming.consumer()
  }

  #checkDrained(from: Uint8Array, byteOffset: number, byteLength: number): void {
    if (from === this.#consumer.bytes) this.#assertInside(byteOffset, byteLength)
    check(from.slice(byteOffset, byteOffset + byteLength))
  }

  #assertInside(byteOffset: number, byteLength: number): void {
    const start = this.#ground.structureByteOffset + RECORDS_OFFSET
    const isInside = byteOffset >= start && byteLength >= 0 && byteOffset + byteLength <= start + CAPACITY_BYTES
    if (!isInside) throw new Breach(`${byteLength} bytes at ${byteOffset} lie outside of the records`)
  }
}

export function message(random: Random, byteLengthMax: number): Uint8Array {
  return new Uint8Array(random.below(byteLengthMax + 1)).fill(random.below(120))
}

export function check(bytes: Uint8Array | undefined | null): void {
  if (!bytes) return
  if (bytes.byteLength > MAX_MESSAGE_BYTES) throw new Breach(`a message of ${bytes.byteLength} bytes was received`)
  if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(CANARY_BYTES)) {
    throw new Breach('a message has bytes from outside of the ring')
  }
}

export function checkAll(batch: readonly Uint8Array[] | undefined | null): void {
  for (const bytes of batch ?? []) check(bytes)
}

export function checkInto(bytes: Uint8Array | undefined | null, into: Uint8Array): void {
  check(bytes)
  if (bytes && (bytes.buffer !== into.buffer || bytes.byteOffset !== 0)) throw new Breach('it was received elsewhere')
}

/** A call that only a signal ends. */
export async function untilAborted(timeoutMs: number, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(), timeoutMs)
  try {
    await run(controller.signal)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ABORT_ERR') throw error
  } finally {
    clearTimeout(timer)
  }
}

export function checkChunk(chunk: MessageChunk | undefined | null): void {
  if (!chunk) return
  check(chunk.bytes)
  const end = chunk.messageOffset + chunk.bytes.byteLength
  const isInside = chunk.messageOffset >= 0 && end <= chunk.messageByteLength
  if (!isInside || chunk.messageByteLength > MAX_MESSAGE_BYTES) {
    throw new Breach(`a chunk ends at ${end} of a message of ${chunk.messageByteLength} bytes`)
  }
}
