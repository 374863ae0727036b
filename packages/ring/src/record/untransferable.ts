/** The part of Node.js that is used here, if the program runs there. */
interface Host {
  readonly process?: {
    getBuiltinModule?(name: string): { readonly markAsUntransferable?: (value: object) => void } | undefined
  }
}

const mark = markOf(globalThis as Host)

/**
 * Keeps a buffer that several messages share from being transferred to another thread together with one of them. Only
 * Node.js offers this: there, such a transfer throws (Node.js 20: copies). Elsewhere it detaches the messages that share
 * the buffer.
 */
export function markAsUntransferable(buffer: ArrayBufferLike): void {
  mark?.(buffer)
}

/** When the package is loaded: later, the stack may be full. */
function markOf({ process }: Host): ((value: object) => void) | undefined {
  try {
    return process?.getBuiltinModule?.('node:worker_threads')?.markAsUntransferable
  } catch {
    // A runtime that has the function and refuses the module offers it as little as a browser.
    return undefined
  }
}
