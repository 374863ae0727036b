export interface ChunkOptions {
  /**
   * Where to copy the chunk, instead of into a new array: as long as the largest chunk, to fit any. The next call with the same
   * array overwrites the chunk.
   */
  readonly into?: Uint8Array
}

/** A part of a message, in the order of its bytes. A message that needs no parts comes as one chunk. */
export interface MessageChunk {
  /** A private copy; with `into`, the part of it that was written. */
  readonly bytes: Uint8Array
  /** Where the chunk begins in its message, in bytes. */
  readonly messageOffset: number
  /** The length of the whole message. */
  readonly messageByteLength: number
  /** Whether the message ends with this chunk. */
  readonly isLast: boolean
}
