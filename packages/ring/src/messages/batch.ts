import { IsthmusTypeError } from '@isthmus/sync'
import { inWords } from '@isthmus/sync/internal'

/**
 * An error that has ended `sendBatch` or `sendBatchSync`, as it reaches the program: an AbortError, a PeerDiedError, what the
 * codec threw. (An error that takes no properties, such as a frozen one of the codec, lacks `sent`.)
 */
export interface BatchError extends Error {
  /** How many messages of the batch were sent before. They stay sent. */
  readonly sent: number
}

/** A batch on its way. */
export class Batch<T> {
  readonly values: readonly T[]
  /** How many were sent. The next one is `values[sentCount]`. */
  sentCount = 0
  /** The bytes of the next one, if it was encoded and has found no space. */
  nextBytes: Uint8Array | undefined

  /** @param attempt begins the error message */
  constructor(values: readonly T[], attempt: string) {
    if (typeof values !== 'object' || values === null) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `${attempt}: got ${inWords(values)} instead of the messages. Give an array of them.`,
      )
    }
    this.values = values
  }

  /** Says in an error how many messages were sent before, and returns it. */
  failure(error: unknown): unknown {
    if (typeof error === 'object' && error !== null) {
      try {
        ;(error as { sent?: number }).sent = this.sentCount
      } catch {
        // It is frozen, or refuses the property: see BatchError.
      }
    }
    return error
  }
}
