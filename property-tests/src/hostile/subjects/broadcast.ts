import { type BroadcastRing, broadcastRing, type Publisher, type Subscriber } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import {
  CHECKPOINTS,
  CHECKPOINTS_OFFSET,
  DATA_OFFSET,
  GATE_BYTES,
  GATE_CURSOR_OFFSET,
  GATES_OFFSET,
  gateWord,
  INTENT_OFFSET,
  NUMBER_BYTES,
  NUMBERS_OFFSET,
  recordsOffsetOf,
  WRITE_POSITION_OFFSET,
} from '../../../../packages/ring/src/broadcast/layout.js'
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
import { Breach, type Call } from '../call.js'
import type { Ground } from '../ground.js'
import { type Mutation, write } from '../memory.js'
import { Random } from '../random.js'
import { type Subject, shortTimeout, type Users } from '../subject.js'
import { check, checkAll, checkChunk, checkInto, MAX_MESSAGE_BYTES, message, untilAborted } from './ring.js'

const CAPACITY_BYTES = 256
const GATES = 2
const RECORDS_OFFSET = recordsOffsetOf(GATES)
const KINDS = [DATA, DATA, DATA, PADDING, FIRST, MIDDLE, LAST, ABORT, 0, 7]
const structure = broadcastRing({ capacityBytes: CAPACITY_BYTES, gates: GATES, maxMessageBytes: MAX_MESSAGE_BYTES })

export const broadcastSubject: Subject = {
  name: 'broadcast',
  structure,
  enter: (ground) => new BroadcastUsers(ground as Ground<BroadcastRing>),
  strike: (ground, random) => (random.isOneIn(3) ? forgeGate(ground, random) : forgeRecords(ground, random)),
}

/** After a crash of the machine a ring may contain anything. `recover` must leave one that works. */
export const broadcastRecovery: Subject = {
  name: 'broadcast-recovery',
  structure,
  enter: (ground) => new RecoveryUsers(ground as Ground<BroadcastRing>),
  strike: (ground, random) => forgeRecords(ground, random),
}

/**
 * A subscriber that is hostile writes what subscribers write, and all of it: gates, cursors and wait points. Others lose nothing by
 * it but time: a subscriber without a gate gets what was published, and the publisher may be held back, or told of a corrupt gate.
 */
export const hostileSubscriber: Subject = subjectOfForeignWords('broadcast-subscriber', GATES)
/** The same for a ring without gates: there the publisher is never held back. */
export const hostileSubscriberWithoutGates: Subject = subjectOfForeignWords('broadcast-no-gates', 0)

function subjectOfForeignWords(name: string, gates: number): Subject {
  const random = new Random(1)
  return {
    name,
    structure: broadcastRing({ capacityBytes: CAPACITY_BYTES, gates }),
    enter: (ground) => new FoundUsers(ground as Ground<BroadcastRing>, gates === 0),
    scribble(words, firstWord) {
      const from = DATA_OFFSET / 4
      const place = firstWord + from + random.below((recordsOffsetOf(gates) - DATA_OFFSET) / 4)
      Atomics.store(words, place, random.isOneIn(3) ? random.word() : random.below(4) << random.below(31))
    },
  }
}

/** Publishes records where the next ones would stand: some as a publisher could write them, some invalid; then moves positions. */
function forgeRecords({ memory: { words, structure } }: Ground, random: Random): Mutation[] {
  const at = (byteOffset: number) => structure.from + byteOffset / 4
  const start = words[at(WRITE_POSITION_OFFSET)]
  const place = at(NUMBERS_OFFSET) + (words[at(NUMBERS_OFFSET)] === start ? 0 : NUMBER_BYTES / 4)
  const mutations: Mutation[] = []
  let number = words[place + 1]
  let bytes = 0
  let isInside = false
  for (let count = 1 + random.below(6); count > 0 && bytes < CAPACITY_BYTES; count--) {
    const index = (start + bytes) & (CAPACITY_BYTES - 1) & -8
    const room = Math.min(CAPACITY_BYTES - index, CAPACITY_BYTES - bytes)
    const kind: number = isInside && !random.isOneIn(4) ? random.of([MIDDLE, LAST]) : random.of(KINDS)
    const longest = Math.max(room - 8, 0)
    const byteLength = random.isOneIn(12) ? random.word() : random.below(longest + 1)
    const header = at(RECORDS_OFFSET) + index / 4
    mutations.push(write(words, header, byteLength), write(words, header + 1, kindWord(kind, 0)))
    if (room >= 16) mutations.push(write(words, header + 2, random.isOneIn(8) ? random.word() : number))
    if (kind === FIRST && room >= 24) {
      mutations.push(write(words, header + 4, random.of([byteLength, 100, 300, MAX_MESSAGE_BYTES + 1, -1])))
      mutations.push(write(words, header + 5, random.of([0, 0, 0, 1, -1])))
    }
    isInside = kind === FIRST || kind === MIDDLE
    if (kind === DATA || kind === LAST) number++
    bytes += Math.max(8, recordBytesOf(byteLength) & 0x1f8)
  }
  const end = start + Math.min(bytes, CAPACITY_BYTES)
  if (!random.isOneIn(6)) {
    const other = at(NUMBERS_OFFSET) + (place === at(NUMBERS_OFFSET) ? NUMBER_BYTES / 4 : 0)
    mutations.push(write(words, other, end), write(words, other + 1, number), write(words, other + 3, Number(isInside)))
  }
  if (!random.isOneIn(4)) mutations.push(write(words, at(INTENT_OFFSET), random.isOneIn(6) ? random.word() : end))
  if (random.isOneIn(6))
    mutations.push(write(words, at(WRITE_POSITION_OFFSET) + 1, random.of([1, 2, -1, random.word()])))
  const checkpoint = at(CHECKPOINTS_OFFSET) + random.below(CHECKPOINTS)
  mutations.push(write(words, checkpoint, random.isOneIn(3) ? random.word() : start + 8 * random.below(32)))
  mutations.push(write(words, at(WRITE_POSITION_OFFSET), random.isOneIn(8) ? end + random.below(CAPACITY_BYTES) : end))
  return mutations
}

/** A gate in any state, of a peer that exists or does not, with a cursor near the position or anywhere. */
function forgeGate({ memory: { words, structure, peerIds } }: Ground, random: Random): Mutation[] {
  const at = (byteOffset: number) => structure.from + byteOffset / 4
  const gate = GATES_OFFSET + random.below(GATES) * GATE_BYTES
  const peer = random.isOneIn(4) ? random.word() & 0xfffffff : random.of(peerIds)
  const near = words[at(WRITE_POSITION_OFFSET)] - 8 * random.below(40)
  return [
    write(
      words,
      at(gate),
      random.isOneIn(6) ? random.word() : gateWord(random.of([1, 2, 2, 3] as const), peer as never),
    ),
    write(words, at(gate + GATE_CURSOR_OFFSET), random.isOneIn(4) ? random.word() : near),
  ]
}

class BroadcastUsers implements Users {
  readonly #ground: Ground<BroadcastRing>
  readonly #publishing: BroadcastRing
  readonly #subscribing: BroadcastRing
  #publisher: Publisher
  readonly #subscribers: Subscriber[]

  constructor(ground: Ground<BroadcastRing>) {
    this.#ground = ground
    this.#publishing = ground.use(ground.first)
    this.#subscribing = ground.use(ground.second)
    this.#publisher = this.#publishing.publisher()
    const subscribers: Subscriber[] = []
    try {
      subscribers.push(this.#subscribing.subscriber(), this.#subscribing.subscriber({ gate: true }))
    } catch (error) {
      for (const each of [...subscribers, this.#publisher]) each.close()
      throw error
    }
    this.#subscribers = subscribers
  }

  next(random: Random): Call {
    const timeoutMs = shortTimeout(random)
    const small = () => message(random, this.#publisher.maxRecordBytes)
    const large = () => message(random, 1000)
    const place = random.below(2)
    const subscriber = this.#subscribers[place]
    const maxMessages = 1 + random.below(8)
    const into = new Uint8Array(random.below(300))
    switch (random.below(26)) {
      case 0:
      case 1:
      case 2:
        return { name: 'tryPublish', run: () => this.#publisher.tryPublish(small()) }
      case 3:
        return { name: 'publishSync', timeoutMs, run: () => this.#publisher.publishSync(large(), { timeoutMs }) }
      case 4:
        return { name: 'publish', timeoutMs, run: () => this.#publisher.publish(large(), { timeoutMs }) }
      case 5:
        return { name: 'tryPublishBatch', run: () => this.#publisher.tryPublishBatch([small(), small(), small()]) }
      case 6:
        return { name: 'tryClaim, commit', run: () => this.#claim(random.below(100)) }
      case 7:
        return { name: 'publisher anew', run: () => this.#renewPublisher() }
      case 8:
        return { name: 'demote', run: () => this.#demoteAll() }
      case 9:
        return { name: 'describe', run: () => this.#subscribing.describe() }
      case 10:
        return { name: 'subscriber anew', run: () => this.#renew(place, random) }
      case 11:
        return { name: 'tryTakeGate', run: () => subscriber.tryTakeGate() }
      case 12:
        return { name: 'acknowledge', run: () => subscriber.acknowledge() }
      case 13:
        return {
          name: 'drain',
          run: () => subscriber.drain((bytes, from, length) => this.#checkShown(subscriber, bytes, from, length)),
        }
      case 14:
        return {
          name: 'forEachInPlace',
          timeoutMs,
          run: () =>
            untilAborted(timeoutMs, (signal) =>
              subscriber.forEachInPlace(
                async (bytes, from, length) => this.#checkShown(subscriber, bytes, from, length),
                { signal },
              ),
            ),
        }
      case 15:
        return { name: 'tryReceiveBatch', run: () => checkAll(subscriber.tryReceiveBatch(maxMessages)) }
      case 16:
        return { name: 'tryReceiveChunk', run: () => checkChunk(subscriber.tryReceiveChunk()) }
      case 17:
        return { name: 'tryReceiveChunk into', run: () => checkChunk(subscriber.tryReceiveChunk({ into })) }
      case 18:
        return { name: 'tryReceive into', run: () => checkInto(subscriber.tryReceive({ into }), into) }
      case 19:
        return { name: 'receive', timeoutMs, run: async () => check(await subscriber.receive({ timeoutMs })) }
      case 20:
        return { name: 'receiveSync', timeoutMs, run: () => check(subscriber.receiveSync({ timeoutMs })) }
      case 21:
        return { name: 'waitAny', timeoutMs, run: () => waitAny([subscriber], { timeoutMs }) }
      default:
        return { name: 'tryReceive', run: () => check(subscriber.tryReceive()) }
    }
  }

  leave(): Call[] {
    return [
      { name: 'close publisher', run: () => this.#publisher.close() },
      ...this.#subscribers.map((subscriber) => ({ name: 'close subscriber', run: () => subscriber.close() })),
    ]
  }

  #claim(byteLength: number): void {
    const byteOffset = this.#publisher.tryClaim(byteLength)
    if (byteOffset === -1) return
    this.#assertInside(byteOffset, byteLength)
    this.#publisher.bytes.fill(1, byteOffset, byteOffset + byteLength)
    this.#publisher.commit()
  }

  #renewPublisher(): void {
    this.#publisher.close()
    this.#publisher = this.#publishing.publisher()
  }

  #renew(place: number, random: Random): void {
    this.#subscribers[place].close()
    const from = random.of(['latest', 'oldest'] as const)
    const onOverrun = random.of(['skip', 'throw'] as const)
    this.#subscribers[place] = this.#subscribing.subscriber({ gate: random.isOneIn(2), from, onOverrun })
  }

  #demoteAll(): void {
    for (const gate of this.#publisher.gates()) this.#publisher.demote(gate)
  }

  #checkShown(subscriber: Subscriber, bytes: Uint8Array, from: number, byteLength: number): void {
    if (bytes === subscriber.bytes) this.#assertInside(from, byteLength)
    check(bytes.slice(from, from + byteLength))
  }

  #assertInside(byteOffset: number, byteLength: number): void {
    const start = this.#ground.structureByteOffset + RECORDS_OFFSET
    const isInside = byteOffset >= start && byteLength >= 0 && byteOffset + byteLength <= start + CAPACITY_BYTES
    if (!isInside) throw new Breach(`${byteLength} bytes at ${byteOffset} lie outside of the records`)
  }
}

/** What is published is received, or counted as lost, whatever stands in the words that subscribers write. */
class FoundUsers implements Users {
  readonly #isNeverFull: boolean
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  #published = 0
  #received = 0

  constructor(ground: Ground<BroadcastRing>, isNeverFull: boolean) {
    this.#isNeverFull = isNeverFull
    this.#publisher = ground.use(ground.first).publisher()
    this.#subscriber = ground.use(ground.second).subscriber()
  }

  next(random: Random): Call {
    const byteLength = 1 + random.below(100)
    const timeoutMs = shortTimeout(random)
    switch (random.below(5)) {
      case 0:
        return { name: 'receive all', run: () => this.#receiveAll() }
      case 1:
        return { name: 'receiveSync', timeoutMs, run: () => this.#note(this.#subscriber.receiveSync({ timeoutMs })) }
      case 2:
        return { name: 'publishSync', timeoutMs, run: () => this.#publish(byteLength, timeoutMs) }
      default:
        return { name: 'tryPublish', run: () => this.#publish(byteLength) }
    }
  }

  leave(): Call[] {
    return [
      { name: 'receive the rest', run: () => this.#receiveAll() },
      { name: 'close publisher', run: () => this.#publisher.close() },
      { name: 'close subscriber', run: () => this.#subscriber.close() },
    ]
  }

  #publish(byteLength: number, timeoutMs?: number): void {
    const bytes = new Uint8Array(byteLength).fill(this.#published)
    const isPublished =
      timeoutMs === undefined ? this.#publisher.tryPublish(bytes) : this.#publisher.publishSync(bytes, { timeoutMs })
    if (isPublished) this.#published++
    else if (this.#isNeverFull) throw new Breach('a ring without gates is full')
  }

  #receiveAll(): void {
    while (this.#note(this.#subscriber.tryReceive()));
    const count = this.#received + this.#subscriber.lost
    if (count !== this.#published) throw new Breach(`${count} are received or lost, of ${this.#published}`)
  }

  #note(bytes: Uint8Array | undefined | null): boolean {
    if (bytes === null) throw new Breach('the end is told, of a publisher that lives')
    if (bytes === undefined) return false
    const expected = (this.#received + this.#subscriber.lost) & 0xff
    if (bytes.some((byte) => byte !== expected)) throw new Breach(`${bytes[0]} is received in place of ${expected}`)
    this.#received++
    return true
  }
}

class RecoveryUsers implements Users {
  readonly #ground: Ground<BroadcastRing>

  constructor(ground: Ground<BroadcastRing>) {
    this.#ground = ground
  }

  next(_random: Random): Call {
    return { name: 'recover', run: () => this.#recover() }
  }

  leave(): Call[] {
    return []
  }

  #recover(): void {
    const { structure, structureByteOffset, first, second, peerIds } = this.#ground
    // As after a boot: every earlier peer is dead and swept.
    for (const peer of peerIds) structure.sweep(first, structureByteOffset, peer)
    structure.recover?.(first, structureByteOffset)
    const [publishing, subscribing] = [this.#ground.use(first), this.#ground.use(second)]
    try {
      const oldest = subscribing.subscriber({ from: 'oldest' })
      // A role word that names a peer that never existed is not swept with any peer.
      if (publishing.describe().publisher.state !== 'held') {
        const gating = subscribing.subscriber({ gate: true })
        const publisher = publishing.publisher()
        for (let number = 0; number < 3; number++) publisher.publishSync(Uint8Array.of(1, 2, number), { timeoutMs: 0 })
        for (let number = 0; number < 3; number++) {
          const received = receiveNext(gating)
          if (received?.join() !== `1,2,${number}`)
            throw new Breach('what is published after a recovery is not received')
        }
        publisher.close()
        gating.close()
      }
      while (receiveNext(oldest));
      oldest.close()
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CORRUPT') throw error
      throw new Breach(`a recovered ring is corrupt: ${(error as Error).message}`)
    }
  }
}

/** A message that broke off before the crash is told of once. */
function receiveNext(subscriber: Subscriber): Uint8Array | undefined | null {
  for (;;) {
    try {
      const received = subscriber.tryReceive()
      check(received)
      return received
    } catch (error) {
      const { code } = error as { code?: string }
      if (code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' && code !== 'ERR_ISTHMUS_PEER_DIED') throw error
    }
  }
}
