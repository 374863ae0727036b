import { crc32 } from 'node:zlib'

const NUMBER_BYTES = 8
const CHECKSUM_BYTES = 4
/** A message carries its number at each multiple of this: parts of two messages do not look like one. */
const STRIDE_BYTES = 4096

/** The shortest message. */
export const STAMPED_BYTES_MIN = NUMBER_BYTES + CHECKSUM_BYTES

/** Makes messages that say their number throughout, and their checksum: quickly, also if they are large. */
export class StampedMessages {
  /** By length: a message without a number. */
  readonly #templates = new Map<number, DataView>()

  /** The message of this number. The next one of the same length takes its place. */
  at(number: number, byteLength: number): Uint8Array {
    let view = this.#templates.get(byteLength)
    if (view === undefined) {
      view = templateOf(byteLength)
      this.#templates.set(byteLength, view)
    }
    for (const at of stampsIn(byteLength)) view.setFloat64(at, number)
    return new Uint8Array(view.buffer)
  }
}

/**
 * The number of a message.
 * @throws Error if it is not as it was made
 */
export function numberOfStamped(message: Uint8Array): number {
  const { byteLength } = message
  if (byteLength < STAMPED_BYTES_MIN) throw new Error(`A message of ${byteLength} bytes is damaged`)
  const bytes = new Uint8Array(message)
  const view = new DataView(bytes.buffer)
  const number = view.getFloat64(0)
  for (const at of stampsIn(byteLength)) {
    const found = view.getFloat64(at)
    if (found !== number) throw new Error(`Message ${number} is damaged: at byte ${at} it says ${found}`)
    view.setFloat64(at, 0)
  }
  const checksum = view.getUint32(NUMBER_BYTES)
  view.setUint32(NUMBER_BYTES, 0)
  if (crc32(bytes) !== checksum) throw new Error(`Message ${number} is damaged: it has another checksum`)
  return number
}

function templateOf(byteLength: number): DataView {
  const bytes = new Uint8Array(byteLength)
  const view = new DataView(bytes.buffer)
  for (let at = STAMPED_BYTES_MIN; at < byteLength; at++) bytes[at] = at * 31 + (at >> 8) + byteLength
  for (const at of stampsIn(byteLength)) view.setFloat64(at, 0)
  view.setUint32(NUMBER_BYTES, crc32(bytes))
  return view
}

function* stampsIn(byteLength: number): Generator<number> {
  for (let at = 0; at + NUMBER_BYTES <= byteLength; at += STRIDE_BYTES) yield at
}
