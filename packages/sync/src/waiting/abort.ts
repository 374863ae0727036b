import type { Signal } from './host.js'

/**
 * Calls back once when the signal aborts; returns what takes that back. A signal may be anybody's. If its addEventListener
 * throws, this throws the same and never calls back. If its removeEventListener throws, what was waited for stands as it
 * is, and the program hears of the error as of an unhandled rejection.
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

/** For an error that must not change the outcome of the call in which it happens: the runtime reports it. */
export function leaveUnhandled(error: unknown): void {
  void Promise.reject(error)
}

function nothing(): void {}
