import { type MessageChunk, OverrunError, type Subscriber } from '@isthmus/ring'
import { numberOfStamped } from './stamped-messages.js'

/** How a subscriber receives. */
export type Way = 'sync' | 'async' | 'poll' | 'into' | 'batch' | 'chunks' | 'drain' | 'for-each'

/** What a subscriber has received, and was told. The messages say their numbers, from 0 on. */
export interface BroadcastNotes {
  /** The first number that it has received; undefined if there was none. */
  first: number | undefined
  /** The number after the last one. */
  next: number
  received: number
  /** How many numbers are missing between those that it has received. */
  missed: number
  /** Messages that were damaged, or came twice, or out of order. */
  readonly faults: string[]
  /** How many overruns were told as errors, and how many messages they have told as lost. */
  overruns: number
  toldLost: number
  /** As the subscriber counts. */
  lost: number
  deaths: number
  incomplete: number
}

const FAULTS_MAX = 5
const POLL_MS = 1
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** Receives from one subscriber, in one way, until the publisher closes, and notes what comes. */
export class NoteTaker {
  readonly notes: BroadcastNotes = {
    first: undefined,
    next: 0,
    received: 0,
    missed: 0,
    faults: [],
    overruns: 0,
    toldLost: 0,
    lost: 0,
    deaths: 0,
    incomplete: 0,
  }
  readonly #subscriber: Subscriber
  readonly #onProgress: (notes: BroadcastNotes) => void
  #parts: MessageChunk[] = []
  readonly #into: Uint8Array

  /** @param onProgress is called after each message, and each error that was told */
  constructor(subscriber: Subscriber, intoBytes: number, onProgress: (notes: BroadcastNotes) => void = () => {}) {
    this.#subscriber = subscriber
    this.#onProgress = onProgress
    this.#into = new Uint8Array(intoBytes)
  }

  /** Ways that do not wait for promises. */
  receiveBlocking(way: Way): BroadcastNotes {
    for (let isOver = false; !isOver; ) {
      try {
        isOver = this.#receiveSome(way)
      } catch (error) {
        this.#noteError(error)
      }
    }
    return this.#finish()
  }

  async receive(way: Way): Promise<BroadcastNotes> {
    if (way !== 'async' && way !== 'for-each') return this.receiveBlocking(way)
    for (let isOver = false; !isOver; ) {
      try {
        if (way === 'async') {
          const message = await this.#subscriber.receive()
          if (message === null) isOver = true
          else this.note(message)
        } else {
          await this.#subscriber.forEach((message) => {
            this.note(message)
          })
          isOver = true
        }
      } catch (error) {
        this.#noteError(error)
      }
    }
    return this.#finish()
  }

  note(message: Uint8Array): void {
    const { notes } = this
    let number: number
    try {
      number = numberOfStamped(message)
    } catch (error) {
      this.#fault((error as Error).message)
      return
    }
    notes.first ??= number
    if (notes.received === 0) notes.next = number
    if (number < notes.next) this.#fault(`Message ${number} came after message ${notes.next - 1}`)
    notes.missed += number - notes.next
    notes.next = number + 1
    notes.received++
    this.#onProgress(notes)
  }

  /** Returns whether the publisher has closed, and everything was received. */
  #receiveSome(way: Way): boolean {
    const subscriber = this.#subscriber
    switch (way) {
      case 'chunks':
        return this.#receiveChunk()
      case 'drain':
        return this.#drain()
      case 'batch': {
        const batch = subscriber.receiveBatchSync()
        for (const message of batch ?? []) this.note(message)
        return batch === null
      }
      default: {
        if (way === 'poll') Atomics.wait(sleeper, 0, 0, POLL_MS)
        for (;;) {
          const message = this.#receiveOne(way)
          if (message === null) return true
          if (message === undefined) return false
          this.note(message)
        }
      }
    }
  }

  #receiveOne(way: Way): Uint8Array | undefined | null {
    if (way === 'poll') return this.#subscriber.tryReceive()
    if (way === 'into') return this.#subscriber.receiveSync({ into: this.#into })
    return this.#subscriber.receiveSync()
  }

  #receiveChunk(): boolean {
    const chunk = this.#subscriber.receiveChunkSync()
    if (chunk === null) return true
    this.#parts.push(chunk)
    if (!chunk.isLast) return false
    const message = Buffer.concat(this.#parts.map(({ bytes }) => bytes))
    this.#parts = []
    if (message.byteLength !== chunk.messageByteLength) this.#fault('A message has not all of its chunks')
    this.note(message)
    return false
  }

  /** Only after a drain, or the next message of it, a message is known not to have been overwritten meanwhile. */
  #drain(): boolean {
    let shown: Uint8Array | undefined
    const isOver = (count: number | null) => {
      if (shown !== undefined) this.note(shown)
      return count === null
    }
    const count = this.#subscriber.drain(
      (bytes, byteOffset, byteLength) => {
        const before = shown
        shown = bytes.slice(byteOffset, byteOffset + byteLength)
        if (before !== undefined) this.note(before)
      },
      { limit: 100 },
    )
    if (count === 0) Atomics.wait(sleeper, 0, 0, POLL_MS)
    return isOver(count)
  }

  #noteError(error: unknown): void {
    const { notes } = this
    const { code } = error as { code?: string }
    this.#parts = []
    if (error instanceof OverrunError) {
      notes.overruns++
      notes.toldLost += error.lost
    } else if (code === 'ERR_ISTHMUS_PEER_DIED') notes.deaths++
    else if (code === 'ERR_ISTHMUS_MESSAGE_INCOMPLETE') notes.incomplete++
    else throw error
    this.#onProgress(notes)
  }

  #fault(what: string): void {
    if (this.notes.faults.length < FAULTS_MAX) this.notes.faults.push(what)
  }

  #finish(): BroadcastNotes {
    this.notes.lost = this.#subscriber.lost
    this.#subscriber.close()
    return this.notes
  }
}

/** The message with which a subscriber began, as it counts, if so many were published until it ended. */
export function beginningOf({ received, lost }: BroadcastNotes, published: number): number {
  return published - received - lost
}

/** What is wrong if a subscriber notes this, after `published` messages. Where it began, is for the caller to judge. */
export function faultsOfNotes(notes: BroadcastNotes, published: number): string[] {
  const { faults, first, next, missed, lost } = notes
  const found = [...faults]
  const begun = beginningOf(notes, published)
  const missedFirst = (first ?? published) - begun
  const missedLast = first === undefined ? 0 : published - next
  if (missedFirst < 0)
    found.push(`It began with message ${begun}, as it counts, and has received message ${first} first`)
  if (missedFirst + missed + missedLast !== lost) {
    found.push(`It has missed ${missedFirst} + ${missed} + ${missedLast} messages, and counts ${lost} lost`)
  }
  return found
}
