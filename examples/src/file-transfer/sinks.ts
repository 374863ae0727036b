import { createHash } from 'node:crypto'
import { closeSync, openSync, writeFileSync } from 'node:fs'

/** The destination of received chunks. */
export interface Sink {
  readonly byteLength: number
  take(chunk: Uint8Array): void
}

/** Writes a file, and computes its SHA-256 on the way. */
export class FileSink implements Sink {
  readonly #file: number
  readonly #hash = createHash('sha256')
  #byteLength = 0

  constructor(path: string) {
    this.#file = openSync(path, 'w')
  }

  get byteLength(): number {
    return this.#byteLength
  }

  take(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    // Appends all of the chunk; writeSync may write a part of it.
    writeFileSync(this.#file, chunk)
    this.#byteLength += chunk.byteLength
  }

  /** The sum of everything; nothing can be taken after it. */
  sha256(): string {
    return this.#hash.digest('hex')
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Only counts. */
export class CountingSink implements Sink {
  byteLength = 0

  take(chunk: Uint8Array): void {
    this.byteLength += chunk.byteLength
  }
}
