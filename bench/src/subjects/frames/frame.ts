import { readInt32, stampBytes } from '../stamp.js'

/** 1080p, four bytes for each pixel. */
export const FRAME_BYTES = 1920 * 1080 * 4
const LINE_BYTES = 64

/** Writes all bytes of a frame, as a camera does. */
export function takePicture(frame: Uint8Array, sequence: number): void {
  frame.fill(sequence & 0xff)
  stampBytes(frame, 0, FRAME_BYTES, sequence)
}

/** Looks at a byte of each cache line. Returns the number of the frame, or -1 if it is made of several. */
export function lookAt(bytes: Uint8Array, byteOffset: number, byteLength: number): number {
  if (byteLength !== FRAME_BYTES) return -1
  const sequence = readInt32(bytes, byteOffset)
  let sum = 0
  const end = byteOffset + FRAME_BYTES - LINE_BYTES
  for (let at = byteOffset + LINE_BYTES; at < end; at += LINE_BYTES) sum += bytes[at]
  const lines = FRAME_BYTES / LINE_BYTES - 2
  const isWhole = sum === lines * (sequence & 0xff) && readInt32(bytes, byteOffset + FRAME_BYTES - 4) === sequence
  return isWhole ? sequence : -1
}

/** Counts the frames that a viewer sees, and knows the last one. */
export class Seen {
  readonly #last: number
  #count = 0
  #sequence: number

  /** @param first the number before the first one */
  constructor(first: number, last: number) {
    this.#sequence = first
    this.#last = last
  }

  get count(): number {
    return this.#count
  }

  /** Takes what `lookAt` returned. Returns whether it was the last frame. */
  take(sequence: number): boolean {
    if (sequence <= this.#sequence || sequence > this.#last) {
      throw new Error(`Seeing frames: after number ${this.#sequence} comes ${sequence}, of ${this.#last}`)
    }
    this.#sequence = sequence
    this.#count++
    return sequence === this.#last
  }
}
