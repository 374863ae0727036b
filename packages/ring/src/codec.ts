import { IsthmusTypeError } from '@isthmus/sync'
import { inWords } from '@isthmus/sync/internal'

/**
 * Turns a value into the bytes of a message. `TextEncoder` is one. The bytes stay as they are until the message is sent: an
 * encoder that gives the same array again and again does for `trySend` and `sendSync`, and not for `send`.
 */
export interface Encoder<T> {
  encode(value: T): Uint8Array
}

/** Turns the bytes of a message into a value. The bytes are a private copy. `TextDecoder` is one. */
export interface Decoder<T> {
  decode(bytes: Uint8Array): T
}

declare class TextEncoder implements Encoder<string> {
  encode(text: string): Uint8Array
}
declare class TextDecoder implements Decoder<string> {
  constructor(label: string, options: { ignoreBOM: boolean })
  decode(bytes: Uint8Array): string
}

const textEncoder = new TextEncoder()
// A byte order mark is part of the text: what was sent is received.
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Strings as UTF-8. What is not UTF-8 decodes to replacement characters. */
export const utf8: Encoder<string> & Decoder<string> = {
  encode: (text) => textEncoder.encode(text),
  decode: (bytes) => textDecoder.decode(bytes),
}

/**
 * Whatever JSON can say, as UTF-8. Decoding other bytes throws a SyntaxError; the message then counts as received. The
 * type is what both sides agree on: nothing checks it.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096 })).root
 * ring.producer({ encode: json() }).trySend({ item: 'tea' })
 * ring.consumer({ decode: json() }).tryReceive().item // 'tea'
 * ```
 */
export function json<T>(): Encoder<T> & Decoder<T> {
  return {
    encode(value) {
      const text: string | undefined = JSON.stringify(value)
      if (text !== undefined) return textEncoder.encode(text)
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Encoding a message as JSON: JSON has no form for ${inWords(value)}. Send null, or an object.`,
      )
    },
    decode: (bytes) => JSON.parse(textDecoder.decode(bytes)),
  }
}
