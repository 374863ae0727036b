import type { Signal } from '@isthmus/sync'
import { abortErrorOf, onAbort } from '@isthmus/sync/internal'

export interface MessagesOptions {
  /** Ends the iteration with an AbortError, which takes no message. */
  readonly signal?: Signal
}

/** Where the messages come from. */
export interface MessageSource<T> {
  /** The next message, or the end; undefined if there is neither yet. */
  tryNext(): IteratorResult<T, void> | undefined
  /**
   * Whether a call may complete at once: no other call has its turn, and the event loop is not due. Counts as one
   * completion, and throws if there must be no call now.
   */
  canCompleteSynchronously(): boolean
  /**
   * Retries until `tryTake` returns something, after all earlier calls are over. The signal ends it.
   * @param hasTried whether the caller has tried just now; if not, the event loop has its turn first, if it is due
   */
  inTurn<R>(tryTake: () => R | undefined, signal: Signal, hasTried: boolean): Promise<R | undefined>
}

/** A call of `next` that has no result yet. */
interface PendingNext<T> {
  resolve(result: IteratorResult<T, void>): void
  reject(error: unknown): void
  /** Settles when the source no longer waits for this call. */
  isOver: Promise<void> | undefined
}

/**
 * The messages of a consumer, one after the other. It is no async generator: the `return` of a generator waits until its
 * pending `next` gets a message, and then drops that message. Here `return` and `throw` end the wait at once: pending calls
 * resolve to `done`, and the message stays for the next receive.
 *
 * Concurrent calls of `next` get their messages in the order of the calls. The end, an error and an abort end the
 * iteration: an error rejects the call that met it, and all later calls resolve to `done`.
 *
 * @example
 * ```ts
 * const messages = consumer.messages()
 * const { value } = await messages.next()
 * value[0] // 1
 * await messages.return()
 * ```
 */
export class MessageIterator<T> implements AsyncIterableIterator<T> {
  readonly #source: MessageSource<T>
  readonly #signal: Signal | undefined
  /** Ends the pending waits in the source. */
  readonly #ending = new Ending()
  readonly #pending = new Set<PendingNext<T>>()
  #isOver = false
  #forgetAbort: (() => void) | undefined

  /** @internal Use `consumer.messages()`. */
  constructor(source: MessageSource<T>, signal: Signal | undefined) {
    this.#source = source
    this.#signal = signal
  }

  /**
   * The next message; `done` after the end. Rejects as `consumer.receive()`. If the message is there, it comes in a promise
   * that is resolved already: a call that waits costs several times as much.
   */
  next(): Promise<IteratorResult<T, void>> {
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined })
    let hasTried = false
    try {
      if (this.#signal?.aborted) throw abortErrorOf(this.#signal)
      hasTried = this.#source.canCompleteSynchronously() && this.#pending.size === 0
      const result = hasTried ? this.#source.tryNext() : undefined
      if (result !== undefined) {
        if (result.done) this.#end()
        return Promise.resolve(result)
      }
    } catch (error) {
      this.#end()
      return Promise.reject(error)
    }
    return this.#nextInTurn(hasTried)
  }

  #nextInTurn(hasTried: boolean): Promise<IteratorResult<T, void>> {
    return new Promise((resolve, reject) => {
      const call: PendingNext<T> = { resolve, reject, isOver: undefined }
      this.#pending.add(call)
      const tryNext = () => this.#tryNext(call)
      call.isOver = this.#source.inTurn(tryNext, this.#ending, hasTried).then(
        () => {},
        (error) => this.#fail(call, error),
      )
      if (this.#pending.size > 0) this.#listen(call)
    })
  }

  /** Ends the iteration. Resolves when none of its calls waits in the source any more. */
  async return(value?: void | PromiseLike<void>): Promise<IteratorResult<T, void>> {
    await this.#stop()
    return { done: true, value: await value }
  }

  /** Ends the iteration as `return`, and rejects with this error. */
  async throw(error?: unknown): Promise<IteratorResult<T, void>> {
    await this.#stop()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop()
  }

  /** In the turn of this call. Takes a message and resolves its call in one step, so no message is lost in between. */
  #tryNext(call: PendingNext<T>): IteratorResult<T, void> | undefined {
    if (this.#isOver) return { done: true, value: undefined }
    const result = this.#source.tryNext()
    if (result === undefined) return undefined
    this.#pending.delete(call)
    call.resolve(result)
    if (result.done) this.#end()
    else if (this.#pending.size === 0) this.#stopListening()
    return result
  }

  #fail(call: PendingNext<T>, error: unknown): void {
    // The call was resolved before; this is only the end of its wait.
    if (!this.#pending.delete(call)) return
    call.reject(error)
    this.#end()
  }

  /** Ends the iteration; resolves when none of its calls waits in the source any more. */
  async #stop(): Promise<void> {
    const pending = [...this.#pending]
    this.#end()
    await Promise.all(pending.map(({ isOver }) => isOver))
  }

  #end(): void {
    this.#isOver = true
    for (const call of this.#pending) call.resolve({ done: true, value: undefined })
    this.#pending.clear()
    this.#stopListening()
    this.#ending.abort()
  }

  /** Only while a call is pending: a signal may outlive many iterations, and would collect their listeners. */
  #listen(call: PendingNext<T>): void {
    if (this.#forgetAbort !== undefined || this.#signal === undefined) return
    try {
      this.#forgetAbort = onAbort(this.#signal, this.#abort)
    } catch (error) {
      this.#fail(call, error)
    }
  }

  #stopListening(): void {
    this.#forgetAbort?.()
    this.#forgetAbort = undefined
  }

  readonly #abort = (): void => {
    const [first] = this.#pending
    this.#fail(first, abortErrorOf(this.#signal))
  }
}

/** A signal without an AbortController, which would cost more than a message for each iteration. */
class Ending implements Signal {
  readonly #listeners = new Set<() => void>()
  #isAborted = false

  get aborted(): boolean {
    return this.#isAborted
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.add(listener)
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.delete(listener)
  }

  abort(): void {
    if (this.#isAborted) return
    this.#isAborted = true
    for (const listener of this.#listeners) listener()
  }
}
