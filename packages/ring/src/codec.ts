import { IsthmusTypeError } from '@isthmus/sync'
import { inWords } from '@isthmus/sync/internal'

/**
 * What the messages of a ring mean: how a value becomes bytes, and how bytes become a value again. It belongs to the
 * layout, `spscRing({ capacityBytes, codec })`, so both ends of the ring use the same one.
 *
 * @example
 * ```ts
 * const point = {
 *   name: 'point@1',
 *   encode: (xy) => new Uint8Array(Float64Array.from(xy).buffer),
 *   decode({ buffer, byteOffset }) {
 *     const [x, y] = new Float64Array(buffer, byteOffset, 2)
 *     return [x, y]
 *   },
 * }
 * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: point })).root
 * ring.producer().trySend([1.5, 2])
 * ring.consumer().tryReceive() // [1.5, 2]
 * ```
 */
export interface Codec<T> {
  /**
   * Stands in the layout's signature: two programs that give different names get `ERR_ISTHMUS_LAYOUT_MISMATCH` when they
   * open the same memory. Give a new name, such as `order@2`, whenever the bytes mean something else. At most 100
   * letters, digits and `. _ - + / @`.
   */
  readonly name: string
  /**
   * The bytes of a message. They must stay as they are until the message is sent: an encoder that returns the same array
   * again and again suits `trySend` and `sendSync`, not `send`.
   */
  encode(value: T): Uint8Array
  /**
   * The value of a message. `bytes` is a private copy, and may be part of a larger buffer that other messages share: read
   * `bytes.buffer` from `bytes.byteOffset` on, a multiple of 8, and copy what you transfer to another thread. If this throws,
   * the message counts as received. If this can return null or undefined, iterate over the consumer: its `receive` returns those for the end
   * and for a timeout.
   */
  decode(bytes: Uint8Array): T
}

declare class TextEncoder {
  encode(text: string): Uint8Array
}
declare class TextDecoder {
  constructor(label: string, options: { ignoreBOM: boolean })
  decode(bytes: Uint8Array): string
}

const textEncoder = new TextEncoder()
// A byte order mark is part of the text: the receiver gets exactly what was sent.
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Strings as UTF-8. Bytes that are not UTF-8 decode to replacement characters.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: utf8 })).root
 * ring.producer().trySend('espresso')
 * ring.consumer().tryReceive() // 'espresso'
 * ```
 */
export const utf8: Codec<string> = {
  name: 'utf8',
  encode: (text) => textEncoder.encode(text),
  decode: (bytes) => textDecoder.decode(bytes),
}

/**
 * Any value that JSON can express, as UTF-8; `json<Order>()` gives it a type. Decoding other bytes throws a SyntaxError. Nothing checks `T` at run time: if
 * programs of different versions may meet, give each version of the type a name, `{ ...json<Order>(), name: 'order@2' }`.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: json() })).root
 * ring.producer().trySend({ item: 'tea' })
 * ring.consumer().tryReceive().item // 'tea'
 * ```
 */
export function json<T>(): Codec<T> {
  return {
    name: 'json',
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

/** Without `( ) , =`, which are the syntax of a signature, and without spaces and quotes. */
const CODEC_NAME = /^[A-Za-z0-9._\-+/@]{1,100}$/

/**
 * For callers without types.
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function assertCodec(codec: unknown, attempt: string): void {
  const { name, encode, decode } = Object(codec) as Partial<Record<keyof Codec<unknown>, unknown>>
  if (typeof encode !== 'function' || typeof decode !== 'function') {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `${attempt}: codec is ${inWords(codec)}, without the methods encode and decode. Give utf8, json(), or an object with a name and both methods.`,
    )
  }
  if (typeof name === 'string' && CODEC_NAME.test(name)) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: the codec's name is ${inWords(name)}. Give it a name of 1 to 100 letters, digits and . _ - + / @, such as 'order@1': programs compare it when they open the memory.`,
  )
}
