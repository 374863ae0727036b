import { closeSync, openSync, readSync, writeSync } from 'node:fs'

/** Which case a child is running. */
export interface JournalEntry {
  readonly target: number
  readonly seed: number
  readonly cases: number
}

/**
 * A file in which a child notes the case that it begins. The parent can read it even if the child crashes or hangs.
 */
export class Journal {
  readonly #fd: number
  readonly #entry = new Float64Array(3)

  constructor(path: string) {
    this.#fd = openSync(path, 'w+')
  }

  note({ target, seed, cases }: JournalEntry): void {
    this.#entry.set([target, seed, cases])
    writeSync(this.#fd, this.#entry, 0, this.#entry.byteLength, 0)
  }

  close(): void {
    closeSync(this.#fd)
  }

  static read(path: string): JournalEntry | undefined {
    let fd: number
    try {
      fd = openSync(path, 'r')
    } catch {
      return undefined
    }
    try {
      const entry = new Float64Array(3)
      if (readSync(fd, entry, 0, entry.byteLength, 0) < entry.byteLength) return undefined
      const [target, seed, cases] = entry
      return { target, seed, cases }
    } finally {
      closeSync(fd)
    }
  }
}
