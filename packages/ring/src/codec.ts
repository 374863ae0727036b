/** Turns a value into the bytes of a message. `TextEncoder` is one. */
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
  decode(bytes: Uint8Array): string
}

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder()

/** Strings as UTF-8. What is not UTF-8 decodes to replacement characters. */
export const utf8: Encoder<string> & Decoder<string> = {
  encode: (text) => textEncoder.encode(text),
  decode: (bytes) => textDecoder.decode(bytes),
}

/**
 * Whatever JSON can say, as UTF-8. Decoding other bytes throws a SyntaxError; the message then counts as received. The
 * type is what both sides agree on: nothing checks it.
 */
export function json<T>(): Encoder<T> & Decoder<T> {
  return {
    encode: (value) => textEncoder.encode(JSON.stringify(value)),
    decode: (bytes) => JSON.parse(textDecoder.decode(bytes)),
  }
}
