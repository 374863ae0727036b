/** What it takes at the beginning of a payload. */
export const MESSAGE_NUMBER_BYTES = 8

/**
 * The number of a message: how many whole messages were sent before it. 64 bits, in two words, since JavaScript has no number
 * that counts so far, and a BigInt is an allocation.
 */
export class MessageNumber {
  low = 0
  high = 0

  /** The number after this one. */
  advance(): void {
    const low = (this.low + 1) | 0
    if (low === 0) this.high = (this.high + 1) | 0
    this.low = low
  }

  set(low: number, high: number): void {
    this.low = low
    this.high = high
  }

  /** How many messages lie between this number and a later one: exact up to 2 ** 53. */
  distanceTo(low: number, high: number): number {
    return ((high - this.high) | 0) * 2 ** 32 + ((low >>> 0) - (this.low >>> 0))
  }
}
