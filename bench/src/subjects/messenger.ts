/** One end of a way to send messages in both directions that is served by the event loop. */
export interface Messenger {
  /** A promise where the sender has to wait until it may send on. The bytes are the caller's again when this returns. */
  send(message: Uint8Array): void | Promise<void>
  /** Set once, before the first message can come. What it is given is good until it returns. */
  onMessage: (message: Uint8Array) => void
  /** Called when the other end is gone, where that shows. */
  onEnd?: () => void
  /** What was sent has left this process. */
  flush?(): Promise<void>
  /** The other end is there. */
  connected?(): Promise<void>
  close(): void
}

/** One end of a way to send messages in both directions that blocks the thread while it waits, by sleeping or by spinning. */
export interface Courier {
  send(message: Uint8Array): void
  /** What it returns is good until the next call. */
  receive(): Uint8Array
  close(): void
}
