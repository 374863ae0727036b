/** The size of one send: a message, which is larger than the ring and so travels in fragments, or a write to the socket. */
export const BLOCK_BYTES = 2 * 1024 * 1024

/** What a sender without a file sends. */
export const MEMORY_BYTES = 1024 * 1024 * 1024

/** A way from one process to another. */
export interface Transport {
  readonly name: string
  /** @param directory for files that the transport needs */
  listen(directory: string): Promise<Incoming>
}

/** The sending end of a transfer. */
export interface Outgoing {
  /** Resolves as soon as the memory of the block may be used again. */
  send(block: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** The receiving end of a transfer. */
export interface Incoming {
  /** The address under which the sender finds this end. */
  readonly address: string
  /** Resolves when the sender is there and about to read its first block. */
  connected(signal: AbortSignal): Promise<void>
  /** Gives `take` everything that comes, each chunk until `take` returns, until the sender has closed its end. */
  receive(take: (chunk: Uint8Array) => void, signal: AbortSignal): Promise<void>
  close(): void
}
