import { type MpmcQueue, type MpmcQueueOptions, mpmcQueue, type Receiver, type Sender } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import {
  awayFrom,
  BLOCK_HEADER_BYTES,
  COUNT_WORD,
  DATA,
  DONE_WORD,
  GIVEN_UP_OFFSET,
  headOffsetOf,
  KIND_WORD,
  LENGTH_WORD,
  LOST_OFFSET,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  PACKED,
  PIPE,
  POSITION_WORD,
  placesOf,
  SENDER_WORD,
  slotCountOf,
  tailOffsetOf,
} from '../../../../packages/ring/src/mpmc/layout.js'
import { Breach, type Call } from '../call.js'
import { CANARY_BYTES, type Ground } from '../ground.js'
import { type Mutation, write } from '../memory.js'
import type { Random } from '../random.js'
import { type Subject, shortTimeout, type Users } from '../subject.js'
import { untilAborted } from './ring.js'

export const QUEUE_BLOCKS = 6
const BLOCK_BYTES = 64
const LEASE_WORD = 4

/** Where a queue's words lie, in words from its beginning. */
interface Plan {
  readonly allLanes: number
  readonly slotCount: number
  readonly slots: number
  readonly blocks: number
  readonly stride: number
}

/** @param lanes those of the priorities */
function planOf(lanes: number, hasDeadLetters: boolean): Plan {
  const allLanes = lanes + (hasDeadLetters ? 1 : 0)
  const slotCount = slotCountOf(QUEUE_BLOCKS)
  const { slotsOffset, blocksOffset, strideBytes } = placesOf(QUEUE_BLOCKS, BLOCK_BYTES, allLanes, slotCount)
  return { allLanes, slotCount, slots: slotsOffset / 4, blocks: blocksOffset / 4, stride: strideBytes / 4 }
}

function queueSubject(name: string, options: Partial<MpmcQueueOptions>): Subject {
  const { lanes = 1, deadLetters = false } = options
  const plan = planOf(lanes, deadLetters)
  const structure = mpmcQueue({ blocks: QUEUE_BLOCKS, blockBytes: BLOCK_BYTES, packLimit: 3, ...options })
  return {
    name,
    structure,
    enter: (ground) => new QueueUsers(ground as Ground<MpmcQueue>, plan, lanes, deadLetters),
    strike: (ground, random) => strikeQueue(ground, plan, random),
  }
}

export const queueAtMostOnce = queueSubject('queue-at-most-once', {})
export const queueAtLeastOnce = queueSubject('queue-at-least-once', {
  delivery: 'at-least-once',
  lanes: 2,
  reserved: 1,
  deadLetters: true,
  maxDeliveries: 2,
})

/** Overwrites the words of a queue with values that each of them could have, or could nearly have. */
export function strikeQueue({ memory }: Ground, plan: Plan, random: Random): Mutation[] {
  const { words, structure, peerIds } = memory
  const { allLanes, slotCount } = plan
  const at = (word: number) => structure.from + word
  const lane = random.below(allLanes)
  const headWord = at(headOffsetOf(lane) / 4)
  const tailWord = at(tailOffsetOf(lane) / 4)
  const block = random.below(QUEUE_BLOCKS)
  const cellWord = at(plan.blocks + block * plan.stride)
  const position = (words[random.isOneIn(2) ? headWord : tailWord] + random.of([0, 0, 0, 1, 2, -1])) | 0
  const slotWord = (of: number) => at(plan.slots + lane * slotCount + (of & (slotCount - 1)))
  const pushed = (of: number, which: number) => ((of + slotCount) & -slotCount) | which
  const cell = () => {
    const hold = (random.below(4) << 7) | (random.isOneIn(4) ? random.below(128) : random.of(peerIds) & 127)
    return (words[cellWord] & ~511) + (random.below(3) - 1) * 512 + hold
  }
  const anyLength = () =>
    random.of([0, 1, 8, BLOCK_BYTES - 8, BLOCK_BYTES, BLOCK_BYTES + 1, -1, -8, 2 ** 30, random.word()])
  const anyCount = () => random.of([0, 1, 2, 3, 4, 8, 9, -1, 2 ** 29, random.word()])
  const anyKind = () => {
    const kind = random.of([DATA, PACKED, PACKED, PIPE, 0, 255])
    return kind | (random.below(allLanes + 2) << 8) | (random.of([0, 1, 2, 3, 0x7fff, 0xffff]) << 16)
  }
  const anyPosition = () =>
    random.of([position, position + slotCount, position - slotCount, awayFrom(position), random.word()])
  const anyHint = (word: number) => {
    const far = [slotCount, -slotCount, 2 ** 31, 2 ** 30, 4096, 5000]
    return words[word] + random.of([1, -1, 2, 63, 64, 65, -64, ...far])
  }
  const put = (index: number, value: number) => write(words, index, value | 0)
  const record = (offset: number) =>
    [
      put(cellWord + BLOCK_HEADER_BYTES / 4 + offset, anyLength()),
      put(cellWord + BLOCK_HEADER_BYTES / 4 + offset + 1, random.of([DATA, DATA, DATA, 0, 2, 255])),
    ] as const
  switch (random.below(16)) {
    case 0:
      return [put(slotWord(position), pushed(position, random.of([block, slotCount - 1, QUEUE_BLOCKS, slotCount - 2])))]
    case 1:
      return [
        put(slotWord(position), random.of([position & -slotCount, pushed(position + slotCount, block), random.word()])),
      ]
    case 2:
    case 3:
      return [put(cellWord, cell())]
    case 4:
      return [put(cellWord + POSITION_WORD, anyPosition())]
    case 5:
      return [put(cellWord + LENGTH_WORD, anyLength())]
    case 6:
      return [put(cellWord + KIND_WORD, anyKind())]
    case 7:
      return [put(cellWord + DONE_WORD, anyCount()), put(cellWord + COUNT_WORD, anyCount())]
    case 8:
      return [put(cellWord + random.of([LEASE_WORD, SENDER_WORD]), random.word())]
    case 9:
      return [...record(0), ...(random.isOneIn(2) ? record(2 * random.below(6)) : [])]
    case 10:
      return [put(headWord, anyHint(headWord))]
    case 11:
      return [put(tailWord, anyHint(tailWord))]
    case 12: {
      const counters = [GIVEN_UP_OFFSET, LOST_OFFSET, ORPHANS_LEFT_OFFSET, ORPHANS_SEEN_OFFSET]
      return [put(at(random.of(counters) / 4), random.word())]
    }
    default: {
      // A message, or several in a block, that looks as if it was sent.
      const kind = random.isOneIn(4) ? anyKind() : random.of([DATA, PACKED]) | (lane << 8)
      return [
        put(cellWord, random.isOneIn(4) ? cell() : (words[cellWord] & ~511) | (1 << 7) | (random.of(peerIds) & 127)),
        put(cellWord + POSITION_WORD, random.isOneIn(6) ? anyPosition() : position),
        put(cellWord + LENGTH_WORD, anyLength()),
        put(cellWord + KIND_WORD, kind),
        put(cellWord + DONE_WORD, random.isOneIn(3) ? anyCount() : 0),
        put(cellWord + COUNT_WORD, anyCount()),
        ...record(0),
        ...record(4),
        put(slotWord(position), pushed(position, block)),
      ]
    }
  }
}

interface Loan {
  readonly isHeld: boolean
  [Symbol.dispose](): void
}

class QueueUsers implements Users {
  readonly #ground: Ground<MpmcQueue>
  readonly #plan: Plan
  readonly #lanes: number
  readonly #queues: readonly MpmcQueue[]
  readonly #senders: Sender[]
  readonly #receivers: Receiver[]
  readonly #letters: Receiver | undefined
  #loans: Loan[] = []

  constructor(ground: Ground<MpmcQueue>, plan: Plan, lanes: number, hasDeadLetters: boolean) {
    this.#ground = ground
    this.#plan = plan
    this.#lanes = lanes
    this.#queues = [ground.use(ground.first), ground.use(ground.second)]
    this.#senders = this.#queues.map((queue) => queue.sender())
    this.#receivers = this.#queues.map((queue, at) => queue.receiver(at === 0 ? {} : { fairness: 2 }))
    this.#letters = hasDeadLetters ? this.#queues[1].deadLetters() : undefined
  }

  next(random: Random): Call {
    const timeoutMs = shortTimeout(random)
    const user = random.below(2)
    const queue = this.#queues[user]
    const sender = this.#senders[user]
    const receiver = this.#letters !== undefined && random.isOneIn(6) ? this.#letters : this.#receivers[user]
    const priority = random.below(this.#lanes)
    const options = { priority, timeoutMs }
    const message = () => new Uint8Array(random.below(BLOCK_BYTES + 1)).fill(random.below(120))
    const batch = () => Array.from({ length: 1 + random.below(8) }, () => new Uint8Array(random.below(20)).fill(1))
    const maxMessages = 1 + random.below(8)
    return random.of<() => Call>([
      () => ({ name: 'trySend', run: () => sender.trySend(message(), { priority }) }),
      () => ({ name: 'trySend', run: () => sender.trySend(message()) }),
      () => ({ name: 'sendSync', timeoutMs, run: () => sender.sendSync(message(), options) }),
      () => ({ name: 'send', timeoutMs, run: () => sender.send(message(), options) }),
      () => ({ name: 'trySendBatch', run: () => sender.trySendBatch(batch(), { priority }) }),
      () => ({ name: 'sendBatchSync', timeoutMs, run: () => sender.sendBatchSync(batch(), options) }),
      () => ({ name: 'sendBatch', timeoutMs, run: () => sender.sendBatch(batch(), options) }),
      () => ({ name: 'cork, uncork', run: () => this.#cork(sender, batch()) }),
      () => ({ name: 'tryLoan', run: () => this.#keep(sender.tryLoan({ priority })) }),
      () => ({ name: 'tryLoan, send', run: () => this.#lend(sender, random) }),
      () => ({ name: 'tryReceive', run: () => check(receiver.tryReceive()) }),
      () => ({ name: 'tryReceive', run: () => check(receiver.tryReceive()) }),
      () => ({ name: 'receiveSync', timeoutMs, run: () => check(receiver.receiveSync({ timeoutMs })) }),
      () => ({ name: 'receive', timeoutMs, run: async () => check(await receiver.receive({ timeoutMs })) }),
      () => ({ name: 'tryReceiveBatch', run: () => checkAll(receiver.tryReceiveBatch(maxMessages)) }),
      () => ({
        name: 'receiveBatchSync',
        timeoutMs,
        run: () => checkAll(receiver.receiveBatchSync({ maxMessages, timeoutMs })),
      }),
      () => ({
        name: 'receiveBatch',
        timeoutMs,
        run: async () => checkAll(await receiver.receiveBatch({ maxMessages, timeoutMs })),
      }),
      () => ({ name: 'drain', run: () => receiver.drain((...place) => this.#checkShown(...place)) }),
      () => ({
        name: 'forEach',
        timeoutMs,
        run: () => untilAborted(timeoutMs, (signal) => receiver.forEach(check, { signal })),
      }),
      () => ({
        name: 'forEachInPlace',
        timeoutMs,
        run: () =>
          untilAborted(timeoutMs, (signal) =>
            receiver.forEachInPlace((...place) => this.#checkShown(...place), { signal }),
          ),
      }),
      () => ({ name: 'tryTake', run: () => this.#take(receiver) }),
      () => ({ name: 'tryTake', run: () => this.#take(receiver) }),
      () => ({ name: 'release or requeue', run: () => this.#giveBack(random) }),
      () => ({ name: 'release or requeue', run: () => this.#giveBack(random) }),
      () => ({ name: 'acknowledge', run: () => receiver.acknowledge() }),
      () => ({ name: 'describe', run: () => queue.describe() }),
      () => ({ name: 'end', run: () => queue.end() }),
      () => ({ name: 'reopen', run: () => queue.reopen() }),
      () => ({ name: 'waitAny', timeoutMs, run: () => waitAny<Sender | Receiver>([receiver, sender], { timeoutMs }) }),
      () => ({ name: 'sender anew', run: () => this.#renewSender(user) }),
      () => ({ name: 'receiver anew', run: () => this.#renewReceiver(user) }),
    ])()
  }

  leave(): Call[] {
    const loans = this.#loans.map((loan) => ({ name: 'give a loan back', run: () => loan[Symbol.dispose]() }))
    const handles = [...this.#senders, ...this.#receivers, ...(this.#letters === undefined ? [] : [this.#letters])]
    return [...loans, ...handles.map((handle) => ({ name: 'close', run: () => handle.close() }))]
  }

  #cork(sender: Sender, messages: readonly Uint8Array[]): void {
    sender.cork()
    try {
      for (const message of messages) sender.trySend(message)
    } finally {
      sender.uncork()
    }
  }

  #keep(loan: (Loan & { readonly bytes: Uint8Array }) | undefined | null): void {
    if (!loan) return
    const { bytes } = loan
    if (bytes.buffer === this.#senders[0].bytes.buffer) this.#assertInside(bytes.byteOffset, bytes.byteLength)
    this.#loans.push(loan)
  }

  #lend(sender: Sender, random: Random): void {
    const loan = sender.tryLoan()
    if (loan === undefined) return
    this.#assertInside(loan.bytes.byteOffset, loan.bytes.byteLength)
    loan.bytes.fill(1)
    if (random.isOneIn(4)) loan.discard()
    else loan.send(random.below(BLOCK_BYTES + 1))
  }

  #take(receiver: Receiver): void {
    const loan = receiver.tryTake()
    if (!loan) return
    check(loan.bytes.slice())
    this.#keep(loan)
  }

  #giveBack(random: Random): void {
    const loan = this.#loans.shift()
    if (loan === undefined) return
    if ('requeue' in loan && random.isOneIn(2)) {
      ;(loan as { requeue(): boolean }).requeue()
    } else if ('release' in loan && random.isOneIn(2)) {
      ;(loan as { release(): void }).release()
      // One in sixteen is forgotten, and goes back when it is garbage-collected.
    } else if (!random.isOneIn(16)) loan[Symbol.dispose]()
  }

  #renewSender(user: number): void {
    this.#senders[user].close()
    this.#senders[user] = this.#queues[user].sender()
  }

  #renewReceiver(user: number): void {
    this.#receivers[user].close()
    this.#receivers[user] = this.#queues[user].receiver()
  }

  #checkShown(from: Uint8Array, byteOffset: number, byteLength: number): void {
    const isInPlace = this.#receivers.some(({ bytes }) => bytes === from) || from === this.#letters?.bytes
    if (isInPlace) this.#assertInside(from.byteOffset + byteOffset, byteLength)
    check(from.slice(byteOffset, byteOffset + byteLength))
  }

  /** Within the payload of one block. */
  #assertInside(byteOffset: number, byteLength: number): void {
    const { blocks, stride } = this.#plan
    const { byteOffset: regionStart } = this.#receivers[0].bytes
    const inBlocks = byteOffset - regionStart - this.#ground.structureByteOffset - blocks * 4
    const inPayload = (inBlocks % (stride * 4)) - BLOCK_HEADER_BYTES
    const isInside = inBlocks >= 0 && inBlocks < QUEUE_BLOCKS * stride * 4 && inPayload >= 0
    if (isInside && byteLength >= 0 && inPayload + byteLength <= BLOCK_BYTES) return
    throw new Breach(`${byteLength} bytes at ${byteOffset} lie outside of the payload of a block`)
  }
}

function check(bytes: Uint8Array | undefined | null): void {
  if (!bytes) return
  if (bytes.byteLength > BLOCK_BYTES) throw new Breach(`a message of ${bytes.byteLength} bytes was received`)
  if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(CANARY_BYTES)) {
    throw new Breach('a message has bytes from outside of the queue')
  }
}

function checkAll(batch: readonly Uint8Array[] | undefined | null): void {
  for (const bytes of batch ?? []) check(bytes)
}
