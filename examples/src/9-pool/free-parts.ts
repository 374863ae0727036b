interface FreePart {
  byteOffset: number
  byteLength: number
}

/** Which parts of a memory are free: the first that is long enough is taken, and neighbours grow together again. */
export class FreeParts {
  #parts: FreePart[]

  constructor(byteLength: number) {
    this.#parts = [{ byteOffset: 0, byteLength }]
  }

  get byteLength(): number {
    return this.#parts.reduce((sum, part) => sum + part.byteLength, 0)
  }

  /** Returns where it begins; undefined if no free part is long enough. */
  take(byteLength: number): number | undefined {
    const part = this.#parts.find((free) => free.byteLength >= byteLength)
    if (part === undefined) return undefined
    const { byteOffset } = part
    part.byteOffset += byteLength
    part.byteLength -= byteLength
    return byteOffset
  }

  giveBack({ byteOffset, byteLength }: FreePart): void {
    const parts = [...this.#parts, { byteOffset, byteLength }].sort((a, b) => a.byteOffset - b.byteOffset)
    this.#parts = []
    for (const part of parts) {
      const before = this.#parts.at(-1)
      if (before !== undefined && before.byteOffset + before.byteLength === part.byteOffset) {
        before.byteLength += part.byteLength
      } else if (part.byteLength > 0) {
        this.#parts.push(part)
      }
    }
  }
}
