import type { Board } from '../../harness/board.js'
import { stampBytes } from '../stamp.js'

/** Both ends of a message hold its sequence number. This byte holds the number of its sender. */
export const SENDER_OFFSET = 4

/** What a sender has sent since it was opened. */
export interface Sent {
  readonly count: number
  readonly sum: number
}

/** Numbers the messages of one sender, from 0 on over all transfers. */
export class Stamps {
  readonly #board: Pick<Board, 'setCount'>
  readonly #index: number
  #sequence = 0
  #sum = 0

  constructor(board: Pick<Board, 'setCount'>, index: number) {
    this.#board = board
    this.#index = index
  }

  /** Makes a message of these bytes. */
  stamp(bytes: Uint8Array, byteOffset: number, byteLength: number): void {
    const sequence = this.#sequence++
    stampBytes(bytes, byteOffset, byteLength, sequence)
    bytes[byteOffset + SENDER_OFFSET] = this.#index
    this.#sum = (this.#sum + mix(sequence)) | 0
  }

  /** Tells the other sides how many messages there have been. */
  announce(): void {
    this.#board.setCount('first', this.#index, this.#sequence)
  }

  get sent(): Sent {
    return { count: this.#sequence, sum: this.#sum }
  }
}

/** Spreads a sequence number, so that messages that were lost and others that were doubled do not make up for each other. */
export function mix(sequence: number): number {
  const mixed = Math.imul(sequence ^ (sequence >>> 15), 0x2c1b3c6d)
  return mixed ^ (mixed >>> 12)
}
