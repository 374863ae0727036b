import { IsthmusTypeError } from '@isthmus/sync'
import { inWords, isUint8Array } from '@isthmus/sync/internal'
import type { Codec } from '../codec.js'

const nothing = new Uint8Array(0)

/*
 * Senders ask messages for `length`, which for a Uint8Array is its `byteLength`. V8 compiles `length` into a load, and
 * `byteLength` into a call that takes 10 ns.
 */

/**
 * The bytes that a value is sent as.
 * @param attempt begins the error message
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for what is no Uint8Array, or one that has lost its bytes; and
 * what the codec throws
 */
export function bytesOf<T>(value: T, codec: Codec<T> | undefined, attempt: string): Uint8Array {
  const bytes: unknown = codec === undefined ? value : codec.encode(value)
  if (isUint8Array(bytes) && (bytes.length > 0 || !isGone(bytes))) return bytes
  const found = isUint8Array(bytes) ? 'a Uint8Array whose buffer was detached or cut off' : inWords(bytes)
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: got ${found} instead of a Uint8Array. Give bytes, or make the layout with a codec such as utf8.`,
  )
}

/** After a wait: room was made for this many bytes. */
export function assertLength(bytes: Uint8Array, byteLength: number, attempt = 'Sending to a ring'): void {
  if (bytes.byteLength === byteLength && (byteLength > 0 || !isGone(bytes))) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${attempt}: the message had ${byteLength} bytes and has ${bytes.byteLength} now. Do not change it or its buffer until it is sent.`,
  )
}

/** Whether an array of 0 bytes has lost its bytes: its buffer was transferred, or shrunk to before the array's start. */
function isGone(bytes: Uint8Array): boolean {
  try {
    nothing.set(bytes)
    return false
  } catch {
    return true
  }
}
