import { closeSync, openSync, readSync } from 'node:fs'

/** A copy of the words in which the children of a round count what they have done. The library does not know them. */
export class Ledger {
  readonly #words: Int32Array

  constructor(words: Int32Array) {
    this.#words = words
  }

  word(index: number): number {
    return this.#words[index]
  }
}

/** Reads the ledger from the segment's file: the process that forks must not attach. */
export class LedgerFile {
  readonly #fd: number
  readonly #byteOffset: number
  readonly #words: number

  constructor(name: string, byteOffset: number, words: number) {
    this.#fd = openSync(`/dev/shm${name}`, 'r')
    this.#byteOffset = byteOffset
    this.#words = words
  }

  read(): Ledger {
    const words = new Int32Array(this.#words)
    const byteLength = readSync(this.#fd, words, 0, words.byteLength, this.#byteOffset)
    if (byteLength !== words.byteLength) throw new Error(`Reading the ledger: ${byteLength} bytes came`)
    return new Ledger(words)
  }

  close(): void {
    closeSync(this.#fd)
  }
}
