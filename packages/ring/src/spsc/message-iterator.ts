import type { Signal } from '@isthmus/sync'
import { abortErrorOf, onAbort } from '@isthmus/sync/internal'

export interface MessagesOptions {
  /** Ends the iteration with an AbortError. No message is taken for it. */
  readonly signal?: Signal
}

/** Where the messages come from. */
export interface MessageSource<T> {
  /** The next message, or the end; undefined if there is neither yet. */
  tryNext(): IteratorResult<T, void> | undefined
  /** Tries until it gets something, when all calls before this one are over. The signal ends it. */
  inTurn<R>(tryTake: () => R | undefined, options: { readonly signal: Signal }): Promise<R | undefined>
}

/** A call of `next` that has no result yet. */
interface PendingNext<T> {
  resolve(result: IteratorResult<T, void>): void
  reject(error: unknown): void
  /** Settles when nothing of it is left in the source. */
  isOver: Promise<void> | undefined
}

/**
 * The messages of a consumer, one after the other. It is no async generator: the `return` of one has to wait until the
 * message comes that its pending `next` waits for, and then drops it. Here `return` and `throw` end the wait at once: what
 * is pending resolves to `done`, and the message stays for whoever receives next.
 *
 * Calls of `next` at the same time get their messages in the order of the calls. The end, an error and an abort end the
 * iteration: an error goes to the call that met it, all later ones resolve to `done`.
 */
export class MessageIterator<T> implements AsyncIterableIterator<T> {
  readonly #source: MessageSource<T>
  readonly #signal: Signal | undefined
  /** Ends what is pending in the source. */
  readonly #ending = new Ending()
  readonly #options = { signal: this.#ending }
  readonly #pending = new Set<PendingNext<T>>()
  #isOver = false
  #forgetAbort: (() => void) | undefined

  /** @internal Use `consumer.messages()`. */
  constructor(source: MessageSource<T>, signal: Signal | undefined) {
    this.#source = source
    this.#signal = signal
  }

  next(): Promise<IteratorResult<T, void>> {
    return new Promise((resolve, reject) => {
      if (this.#isOver) return resolve({ done: true, value: undefined })
      if (this.#signal?.aborted) {
        this.#end()
        throw abortErrorOf(this.#signal)
      }
      const call: PendingNext<T> = { resolve, reject, isOver: undefined }
      this.#pending.add(call)
      const tryNext = () => this.#tryNext(call)
      call.isOver = this.#source.inTurn(tryNext, this.#options).then(
        () => {},
        (error) => this.#fail(call, error),
      )
      if (this.#pending.size > 0) this.#listen(call)
    })
  }

  async return(value?: void | PromiseLike<void>): Promise<IteratorResult<T, void>> {
    await this.#stop()
    return { done: true, value: await value }
  }

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

  /** In the turn of this call. The message is taken and given in one step: nothing comes between that could lose it. */
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
    // It was over before: this is the end of its wait.
    if (!this.#pending.delete(call)) return
    call.reject(error)
    this.#end()
  }

  /** Ends the iteration; resolves when nothing of it waits in the source any more. */
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

  /** Only while something is pending: a signal lives longer than many iterations. */
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

/** A signal of our own: an AbortController for each iteration would cost more than a message. */
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
