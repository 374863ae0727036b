/** One end of a way to send messages in both directions that is served by the event loop. */
export interface Messenger {
  /** Returns a promise if the sender must wait before it sends more. The bytes are the caller's again when this returns. */
  send(message: Uint8Array): void | Promise<void>
  /** Set once, before the first message can come. Its argument is valid until it returns. */
  onMessage: (message: Uint8Array) => void
  /** Called when the other end is gone, if the subject can tell. */
  onEnd?: () => void
  /** Resolves when everything sent has left this process. */
  flush?(): Promise<void>
  /** Resolves when the other end is there. */
  connected?(): Promise<void>
  close(): void
}

/** One end of a way to send messages in both directions that blocks the thread while it waits, by sleeping or by spinning. */
export interface Courier {
  send(message: Uint8Array): void
  /** The result is valid until the next call. */
  receive(): Uint8Array
  close(): void
}
