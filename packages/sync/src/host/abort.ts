/** The part of an AbortSignal that isthmus uses; any object that has it will do. */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/**
 * Calls back once when the signal aborts. The signal belongs to the program and may throw: if its addEventListener throws,
 * this function throws the same error and never calls back. If its removeEventListener throws, the outcome of the wait
 * stays as it is, and the runtime reports the error as an unhandled rejection.
 * @returns a function that cancels the call
 * @example
 * ```ts
 * const cancel = onAbort(signal, () => console.log('aborted'))
 * ```
 */
export function onAbort(signal: Signal | undefined, callback: () => void): () => void {
  if (signal === undefined) return nothing
  let isOver = false
  const listener = () => {
    if (isOver) return
    isOver = true
    callback()
  }
  try {
    signal.addEventListener('abort', listener, { once: true })
  } catch (error) {
    isOver = true
    throw error
  }
  return () => {
    isOver = true
    try {
      signal.removeEventListener('abort', listener)
    } catch (error) {
      leaveUnhandled(error)
    }
  }
}

/** Reports an error that must not change the outcome of the call in which it happened, as an unhandled rejection. */
export function leaveUnhandled(error: unknown): void {
  void Promise.reject(error)
}

function nothing(): void {}
