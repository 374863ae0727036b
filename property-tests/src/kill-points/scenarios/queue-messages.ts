import { type MpmcQueue, type MpmcQueueOptions, mpmcQueue, type Receiver, type Sender } from '@isthmus/ring'
import { type Attached, struct, words } from '@isthmus/sync'
import { contentOf } from '../../harness/messages.js'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import type { Survivor } from '../survivor.js'

export type Delivery = 'at most once' | 'at least once'

export const BLOCKS = 8
/** So many messages of a batch share a block. */
export const PACK_LIMIT = 3
const MESSAGE_BYTES = 20
const BLOCK_BYTES = 128

/** Words in which a victim, and a predecessor, says of itself what it has done. */
export const SENT = 0
/** How many messages beyond SENT may have been sent. */
export const UNTOLD = 1
/** In groups of so many, which are sent as a whole or not at all. */
export const GROUP = 2
/** How many messages it may have taken, beyond those that it has noted. At most once, they are lost with it. */
export const UNNOTED = 3
/** The survivor's sign for the victim to begin. */
export const SIGN = 4
/** How many predecessors have begun. */
export const PREDECESSORS = 5
export const HAS_ENDED = 6
/** For each message of the survivor, by its number: how often it was received, and whether it is known to be acknowledged. */
export const GOT = 64
export const ACKNOWLEDGED = 512
const TOLD_WORDS = 960
/** For messages that are larger than a block: with these blocks, such a message goes out in five parts. */
export const PIPE_OPTIONS = { blockBytes: 3072, maxMessageBytes: 3073 }
export const LARGE_BYTES = 3073
const NUMBERS_MAX = ACKNOWLEDGED - GOT

export function queueLayout(delivery: Delivery, options: Partial<MpmcQueueOptions> = {}) {
  const queue = mpmcQueue({
    blocks: BLOCKS,
    blockBytes: BLOCK_BYTES,
    packLimit: PACK_LIMIT,
    delivery: delivery === 'at most once' ? 'at-most-once' : 'at-least-once',
    ...options,
  })
  return struct({ queue, told: words(TOLD_WORDS) })
}

export type QueueRoot = Attached<ReturnType<typeof queueLayout>>

/** Who sent a message. */
export const SURVIVOR = 0
export const VICTIM = 1
/** What the survivor sends and receives while the victim is stopped. */
const BYSTANDER = 2

export function messageOf(author: number, number: number, byteLength = MESSAGE_BYTES): Uint8Array {
  const bytes = contentOf(author, number, byteLength)
  bytes[0] = author
  bytes[1] = number & 0xff
  bytes[2] = number >> 8
  return bytes
}

/** What a message says of itself. Throws if it is damaged. */
export function placeOf(message: Uint8Array): { author: number; number: number } {
  const author = message[0]
  const number = message[1] | (message[2] << 8)
  const isWhole = Buffer.compare(message, messageOf(author, number, message.length)) === 0
  expect(isWhole, `Message ${number} of ${author} is damaged: ${Buffer.from(message).toString('hex')}`)
  return { author, number }
}

/** What a victim notes about the survivor's messages that it receives. Between two notes nothing is an effect. */
export class Notes {
  readonly #told: Int32Array
  #given: number[] = []

  constructor(told: Int32Array) {
    this.#told = told
  }

  /** A message was given to the program. */
  got(message: Uint8Array): void {
    const { author, number } = placeOf(message)
    expectEqual(author, SURVIVOR, 'Who sent the message that the victim has received')
    this.#told[GOT + number]++
    this.#given.push(number)
  }

  /** A call has returned that acknowledges everything given before. */
  acknowledged(): void {
    for (const number of this.#given) this.#told[ACKNOWLEDGED + number] = 1
    this.#given = []
  }
}

/** Where a message is shown in place, as drain does it. */
export function copyOf(bytes: Uint8Array, byteOffset: number, byteLength: number): Uint8Array {
  return bytes.slice(byteOffset, byteOffset + byteLength)
}

/** What a call returns; undefined if a large message breaks off, or is given up. */
export function unlessBroken<R>(call: () => R): R | undefined {
  try {
    return call()
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' || code === 'ERR_ISTHMUS_PEER_DIED') return undefined
    throw error
  }
}

const EXCHANGES = 50
const LONG_MS = 3_000

/** The survivor's sender and receiver, and what they have sent and received. The receiver is a peer of its own. */
export class Partner {
  readonly survivor: Survivor<QueueRoot>
  readonly delivery: Delivery
  readonly sender: Sender
  readonly receiver: Receiver
  readonly deadLetters: Receiver | undefined
  readonly #others: QueueRoot
  readonly #lanes: number
  /** How many messages were sent. */
  sent = 0
  #exchanged = 0
  hasBuried = false
  hasEnded = false
  /** For each author, the numbers in the order in which they came. */
  readonly #came: number[][] = [[], [], []]

  constructor(
    survivor: Survivor<QueueRoot>,
    delivery: Delivery,
    { deadLetters = false, lanes = 1 }: Partial<MpmcQueueOptions> = {},
  ) {
    this.survivor = survivor
    this.delivery = delivery
    this.sender = survivor.root.queue.sender()
    this.#others = survivor.newcomer().root
    this.receiver = this.#others.queue.receiver()
    this.#lanes = lanes
    this.deadLetters = deadLetters ? this.#others.queue.deadLetters() : undefined
  }

  get queue(): MpmcQueue {
    return this.survivor.root.queue
  }

  trySend(): boolean {
    if (!this.sender.trySend(this.#next())) return false
    this.sent++
    return true
  }

  sendSync(timeoutMs: number): boolean {
    if (!this.sender.sendSync(this.#next(), { timeoutMs })) return false
    this.sent++
    return true
  }

  /** Sends a large message. Returns false if it is not sent: in time, or because its receiver died, or gave it up. */
  sendLarge(timeoutMs: number): boolean {
    const message = messageOf(SURVIVOR, this.sent, LARGE_BYTES)
    const isSent = unlessBroken(() => this.sender.sendSync(message, { timeoutMs })) ?? false
    if (isSent) this.sent++
    return isSent
  }

  sendBatch(count: number): void {
    const batch = Array.from({ length: count }, (_, at) => messageOf(SURVIVOR, this.sent + at))
    const sent = this.sender.trySendBatch(batch)
    expectEqual(sent, count, 'How many messages of the batch were sent')
    this.sent += count
  }

  /** Sends a message whenever the queue is empty, until the victim is not at work any more. */
  feed(): void {
    while (this.survivor.untilVictim(() => this.queue.describe().depth === 0) && this.survivor.isVictimAtWork) {
      this.trySend()
    }
  }

  note(message: Uint8Array): void {
    const { author, number } = placeOf(message)
    this.#came[author].push(number)
  }

  /** Receives until nothing comes for `timeoutMs`. With 0, the last look proves which peers are dead. */
  takeSync(timeoutMs: number): void {
    for (;;) {
      const message = unlessBroken(() => this.receiver.receiveSync({ timeoutMs }))
      if (message === null) this.hasEnded = true
      if (message === undefined || message === null) break
      this.note(message)
    }
    for (let letter = this.deadLetters?.receiveSync({ timeoutMs: 0 }); letter; ) {
      this.note(letter)
      letter = this.deadLetters?.receiveSync({ timeoutMs: 0 })
    }
  }

  async take(timeoutMs: number): Promise<void> {
    for (;;) {
      const message = await this.receiver.receive({ timeoutMs })
      if (message === undefined || message === null) return
      this.note(message)
    }
  }

  cameFrom(author: number): readonly number[] {
    return this.#came[author]
  }

  /**
   * Messages pass at full rate, though the victim is stopped: each is sent and received at the first try. How long that takes is
   * no measure on a busy machine. The blocking calls among them, too, must find what they want without sleeping; that is seen
   * by the time that all of them take together.
   *
   * Of the blocks, only those are missing that the victim had to have when it was stopped.
   */
  exchange(holdsMax: number): void {
    this.takeSync(0)
    // Of a large message the victim has the rest.
    this.receiver.skipMessage()
    const { free, taken } = this.queue.describe()
    expect(BLOCKS - free <= holdsMax, `The stopped victim keeps ${BLOCKS - free} blocks: ${JSON.stringify(taken)}`)
    for (let count = 0; count < EXCHANGES; count++) {
      const message = messageOf(BYSTANDER, this.#exchanged++)
      const isBlocking = count % 4 === 3
      const isSent = isBlocking ? this.sender.sendSync(message, { timeoutMs: LONG_MS }) : this.sender.trySend(message)
      expect(isSent, `Sending message ${count} beside the stopped victim found no block`)
      const received = isBlocking ? this.receiver.receiveSync({ timeoutMs: LONG_MS }) : this.receiver.tryReceive()
      expect(received !== undefined && received !== null, `Receiving message ${count} beside it found ${received}`)
      this.note(received)
    }
    this.takeSync(0)
    const usable = this.#fill()
    expectEqual(usable, this.queue.describe().blocks - (BLOCKS - free), 'How many blocks can be used beside it')
    this.takeSync(0)
  }

  #fill(): number {
    let count = 0
    const options = { timeoutMs: 0, priority: this.#lanes - 1 }
    for (; this.sender.sendSync(messageOf(BYSTANDER, this.#exchanged), options); count++) this.#exchanged++
    return count
  }

  /** What everybody has sent, and nothing else, has come or was received by the victim, as the delivery promises it. */
  checkMessages(mayDouble: number): void {
    this.takeSync(0)
    // Killed half-way, a queue may have ended for some priorities only.
    const { hasEnded } = this.queue.describe()
    expectEqual(this.queue.reopen() || !hasEnded, true, 'Whether a queue that has ended can be reopened')
    // At the end a receiver is told so at once, and at most once it need not look for what the dead had.
    this.takeSync(0)
    const { told } = this.survivor.root
    this.#checkVictims(told)
    this.#checkOwn(told, mayDouble)
    const others = this.cameFrom(BYSTANDER)
    expectEqual(
      others,
      Array.from({ length: this.#exchanged }, (_, number) => number),
      'What passed beside the victim',
    )
  }

  #checkVictims(told: Int32Array): void {
    // Urgent ones come first.
    const numbers = [...this.cameFrom(VICTIM)].sort((a, b) => (this.#lanes > 1 ? a - b : 0))
    const count = numbers.length
    expectEqual(
      numbers,
      Array.from({ length: count }, (_, number) => number),
      "The victim's messages",
    )
    expect(count >= told[SENT], `The victim has sent ${told[SENT]} messages, and ${count} came`)
    expect(count <= told[SENT] + told[UNTOLD], `${count} messages came, of ${told[SENT]} and ${told[UNTOLD]}`)
    const more = count - told[SENT]
    const isWhole = told[GROUP] === 0 || more % told[GROUP] === 0 || more === told[UNTOLD]
    expect(isWhole, `${more} messages came of a batch of ${told[UNTOLD]} in groups of ${told[GROUP]}`)
  }

  #checkOwn(told: Int32Array, mayDouble: number): void {
    expect(this.sent <= NUMBERS_MAX, `${this.sent} messages are more than there are words for`)
    const came = new Array<number>(this.sent).fill(0)
    for (const number of this.cameFrom(SURVIVOR)) came[number]++
    let lost = 0
    let doubled = 0
    came.forEach((count, number) => {
      const got = told[GOT + number]
      const what = `Message ${number} was received ${got} times by the victim and ${count} times by the survivor`
      if (got + count === 0) lost++
      if (this.delivery === 'at most once') expect(got + count <= 1, what)
      else {
        if (count > 1) doubled++
        expect(count === 0 || told[ACKNOWLEDGED + number] === 0, `${what}, after its acknowledgement`)
      }
    })
    const lostMax = this.delivery === 'at most once' ? told[UNNOTED] : 0
    expect(lost <= lostMax, `${lost} messages are lost, and at most ${lostMax} may be`)
    expect(doubled <= mayDouble, `${doubled} messages came twice to the survivor, and at most ${mayDouble} may`)
    this.#checkOrder(came)
  }

  /**
   * Messages come in the order in which they were sent, but for those that the victim had: they come again later, with the others of
   * their block.
   */
  #checkOrder(came: readonly number[]): void {
    const { told } = this.survivor.root
    const lastTaken = came.findLastIndex((_, number) => told[GOT + number] > 0) + told[UNNOTED] + PACK_LIMIT - 1
    let highest = -1
    for (const number of this.cameFrom(SURVIVOR)) {
      const isInOrder = number > highest || number <= lastTaken
      expect(isInOrder, `Message ${number} came after ${highest}, and the victim had none after ${lastTaken}`)
      highest = Math.max(highest, number)
    }
  }

  /** All blocks are free, and a newcomer can use every one of them. */
  checkBlocks(): void {
    const { queue } = this
    const { free, taken, blocks, depth } = queue.describe()
    expectEqual(free, blocks, `Free blocks, while others are taken: ${JSON.stringify(taken)}`)
    expectEqual(depth, 0, 'Messages in the queue')
    const newcomer = this.survivor.newcomer().root.queue
    const sender = newcomer.sender()
    const urgent = { priority: this.#lanes - 1 }
    for (let number = 0; number < BLOCKS; number++) {
      expect(sender.trySend(messageOf(BYSTANDER, number), urgent), `A newcomer finds ${number} of ${BLOCKS} blocks`)
    }
    const receiver = newcomer.receiver()
    for (let number = 0; number < BLOCKS; number++) {
      const message = receiver.receiveSync({ timeoutMs: HAD_WITHIN_MS })
      expectEqual(message && placeOf(message).number, number, 'What a newcomer sends to itself')
    }
    receiver.acknowledge()
    receiver.close()
    expectEqual(queue.describe().free, BLOCKS, 'Free blocks in the end')
  }

  checkWaiters(): void {
    const { waitingReceivers, waitingSenders } = this.queue.describe()
    expectEqual([...waitingReceivers, ...waitingSenders], [], 'Who waits after a sweep')
  }

  #next(): Uint8Array {
    return messageOf(SURVIVOR, this.sent)
  }
}
