import type { Crowd } from '../../harness/assignment.js'
import type { Board } from '../../harness/board.js'
import { readInt32 } from '../stamp.js'
import { mix, SENDER_OFFSET, type Sent } from './stamps.js'

/** What a receiver has received of each sender, by their numbers. */
export interface Received {
  readonly counts: readonly number[]
  readonly sums: readonly number[]
}

type TallyBoard = Pick<Board, 'setCount' | 'countOf' | 'expected'>

/** Checks and counts what one receiver receives: messages of one sender must come in the order in which they were sent. */
export class Tally {
  readonly #board: TallyBoard
  readonly #index: number
  readonly #messageBytes: number
  /** By sender: no lower sequence number may come. */
  readonly #next: Int32Array
  readonly #counts: Int32Array
  readonly #sums: Int32Array
  #count = 0

  constructor(board: TallyBoard, { first }: Crowd, index: number, messageBytes: number) {
    this.#board = board
    this.#index = index
    this.#messageBytes = messageBytes
    this.#next = new Int32Array(first)
    this.#counts = new Int32Array(first)
    this.#sums = new Int32Array(first)
  }

  /** @throws Error if these bytes are no message that may come now */
  take(bytes: Uint8Array, byteOffset: number, byteLength: number): void {
    const sender = bytes[byteOffset + SENDER_OFFSET]
    const sequence = readInt32(bytes, byteOffset)
    const isWhole = byteLength === this.#messageBytes && readInt32(bytes, byteOffset + byteLength - 4) === sequence
    // Of a sender that does not exist, nothing is at least undefined.
    if (!isWhole || !(sequence >= this.#next[sender])) throw wrongOrderError(sender, sequence, this.#next[sender])
    this.#next[sender] = sequence + 1
    this.#counts[sender]++
    this.#sums[sender] += mix(sequence)
    this.#count++
  }

  /** Whether all receivers together have received everything. Tells them what this one has. */
  get isComplete(): boolean {
    this.#board.setCount('second', this.#index, this.#count)
    return this.#board.countOf('second') === this.#board.expected
  }

  get received(): Received {
    return { counts: [...this.#counts], sums: [...this.#sums] }
  }
}

function wrongOrderError(sender: number, sequence: number, next: number | undefined): Error {
  return new Error(
    `Receiving from sender ${sender}: message ${sequence} came, which is changed, or not in order after ${(next ?? 0) - 1}`,
  )
}

/**
 * To be called when all sides have ended.
 * @throws Error if messages were lost, or came twice
 */
export function assertAllReceived(sent: readonly Sent[], received: readonly Received[]): void {
  for (const [sender, { count, sum }] of sent.entries()) {
    const countReceived = received.reduce((total, { counts }) => (total + counts[sender]) | 0, 0)
    const sumReceived = received.reduce((total, { sums }) => (total + sums[sender]) | 0, 0)
    if (countReceived !== count)
      throw new Error(`Sender ${sender} has sent ${count} messages, and ${countReceived} were received`)
    if (sumReceived !== sum)
      throw new Error(`Of ${count} messages of sender ${sender}, some were lost, and as many came twice`)
  }
}
