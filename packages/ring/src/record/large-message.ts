import { IsthmusError, IsthmusRangeError } from '@isthmus/sync'
import type { IncompleteMessageError } from '../errors.js'
import type { Fragment, MessageAssembly } from './message-assembly.js'
import { privateBytes, UNZEROED_BYTES_MIN } from './private-bytes.js'

/**
 * The large message that a reader receives whole: the array to which it copies one fragment after the other. The reader stores
 * both fields when it has taken a fragment, without a call in between, so that it has noted either both or nothing.
 */
export class LargeMessage {
  array: Uint8Array | undefined
  /** The array of the program in which `array` lies; undefined if it has its own. */
  into: Uint8Array | undefined
  readonly #assembly: MessageAssembly
  /** How error messages begin. */
  readonly #attempt: string

  constructor(assembly: MessageAssembly, attempt: string) {
    this.#assembly = assembly
    this.#attempt = attempt
  }

  /** The array of the message that this fragment belongs to. If an earlier call began it elsewhere, that part is copied. */
  arrayFor({ messageOffset, messageByteLength }: Fragment, into: Uint8Array | undefined): Uint8Array {
    const begun = messageOffset === 0 ? undefined : this.array
    // Its array may have been transferred to another thread meanwhile, or cut off.
    if (begun !== undefined && begun.byteLength !== messageByteLength) throw this.#lost()
    if (begun !== undefined && into === this.into) return begun
    const array =
      into === undefined
        ? privateArray(messageByteLength, this.#attempt)
        : partOf(into, messageByteLength, this.#attempt)
    if (begun !== undefined) array.set(begun.subarray(0, messageOffset))
    return array
  }

  drop(): void {
    this.array = undefined
    this.into = undefined
  }

  /** The message under way cannot become whole any more: its remaining fragments will be dropped. */
  #lost(): IncompleteMessageError {
    const lost = this.#assembly.giveUp('array-lost')
    this.drop()
    return lost
  }
}

/**
 * New memory for a message.
 * @param attempt begins the error message
 */
export function privateArray(byteLength: number, attempt: string): Uint8Array {
  try {
    return privateBytes(byteLength)
  } catch (cause) {
    throw new IsthmusError(
      'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
      `${attempt}: no memory for a message of ${byteLength} bytes. It was not received; receive it in chunks (receiveChunk), or free memory and try again.`,
      { cause },
    )
  }
}

/**
 * The part of `into` that a message of this length is copied to.
 * @param attempt begins the error message
 */
export function partOf(into: Uint8Array, byteLength: number, attempt: string): Uint8Array {
  if (byteLength <= into.byteLength) return into.subarray(0, byteLength)
  throw new IsthmusRangeError(
    'ERR_ISTHMUS_MESSAGE_TOO_LARGE',
    `${attempt}: the message has ${byteLength} bytes, and the array to copy it into has ${into.byteLength}. It was not received; give a longer array, or receive it in chunks (receiveChunk).`,
  )
}

/** A private copy with memory of its own. */
export function ownCopyOf(bytes: Uint8Array, start: number, byteLength: number, attempt: string): Uint8Array {
  if (byteLength < UNZEROED_BYTES_MIN) return bytes.slice(start, start + byteLength)
  const copy = privateArray(byteLength, attempt)
  copy.set(bytes.subarray(start, start + byteLength))
  return copy
}
