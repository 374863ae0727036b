import { closeSync, ftruncateSync, openSync } from 'node:fs'
import koffi from 'koffi'

/** From mman.h. */
const PROT_READ_WRITE = 3
const MAP_SHARED = 1

const HEAD_BYTES = 4096
const TEXT_BYTES = 1 << 20
const TEXT_COUNT = 5
const BYTES = HEAD_BYTES + TEXT_COUNT * TEXT_BYTES

const c = koffi.load(null)
const mmap = c.func(
  'uint64_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
)
// The functions as they were before hookAtomics replaces them: the board's own accesses must not count as effects.
const { load, store } = Atomics
const sleeper = new Int32Array(new SharedArrayBuffer(4))
const waitOn = Atomics.wait

/** What the processes of a run signal to each other. */
export const SIGNALS = {
  /** The survivor asks for a process that dies before there is a victim. */
  burialsWanted: 0,
  burialsDone: 1,
  /** The survivor is prepared: the victim may start. */
  victimWanted: 2,
  /** The victim is about to begin. */
  victimPrepared: 3,
  victimDead: 4,
  /** The victim completed its operation: it did not reach its kill point, or was continued after that. */
  victimThrough: 5,
  /** The victim stops itself. */
  victimHalting: 6,
  /** The victim is stopped. */
  victimHalted: 7,
  /** The survivor is done with what it does while the victim is stopped: the victim may go on. */
  continuationWanted: 8,
} as const

/** What the processes report as text. */
export const TEXTS = { victimFailure: 0, survivorFailure: 1, effects: 2, fifos: 3, diedAtEffect: 4 } as const

const DIED_AT = 32
const RECOVERED_IN = 33
const LENGTHS_WORD = 128

/**
 * A notice board: memory through which the processes of a run talk without using the packages under test. It is a
 * mapped file, so that a process that was not forked can map it as well.
 */
export class Board {
  readonly path: string
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #bytes: Uint8Array

  constructor(path: string) {
    this.path = path
    const fd = openSync(path, 'a+', 0o600)
    ftruncateSync(fd, BYTES)
    const address = Number(mmap(0, BYTES, PROT_READ_WRITE, MAP_SHARED, fd, 0))
    closeSync(fd)
    if (address > Number.MAX_SAFE_INTEGER) throw new Error(`Mapping ${path} failed with error number ${koffi.errno()}`)
    const memory = koffi.view(address, BYTES)
    this.#words = new Int32Array(memory)
    this.#numbers = new Float64Array(memory, 0, HEAD_BYTES / 8)
    this.#bytes = new Uint8Array(memory)
  }

  /** Prepares the board for the next run. */
  clear(): void {
    this.#words.fill(0, 0, HEAD_BYTES / 4)
  }

  read(signal: keyof typeof SIGNALS): number {
    return load(this.#words, SIGNALS[signal])
  }

  raise(signal: keyof typeof SIGNALS): void {
    store(this.#words, SIGNALS[signal], this.read(signal) + 1)
  }

  /** Blocks until the signal was raised `count` times. */
  await(signal: keyof typeof SIGNALS, count: number, timeoutMs: number): void {
    const deadline = performance.now() + timeoutMs
    while (this.read(signal) < count) {
      if (performance.now() > deadline) throw new Error(`${signal} did not come in ${timeoutMs} ms`)
      waitOn(sleeper, 0, 0, 0.1)
    }
  }

  write(text: keyof typeof TEXTS, content: string): void {
    const place = TEXTS[text]
    const start = HEAD_BYTES + place * TEXT_BYTES
    const bytes = Buffer.from(content).subarray(0, TEXT_BYTES)
    this.#bytes.set(bytes, start)
    store(this.#words, LENGTHS_WORD + place, bytes.byteLength)
  }

  append(text: keyof typeof TEXTS, line: string): void {
    this.write(text, `${this.text(text)}${line}\n`)
  }

  text(text: keyof typeof TEXTS): string {
    const place = TEXTS[text]
    const start = HEAD_BYTES + place * TEXT_BYTES
    const byteLength = load(this.#words, LENGTHS_WORD + place)
    return Buffer.from(this.#bytes.slice(start, start + byteLength)).toString()
  }

  lines(text: keyof typeof TEXTS): string[] {
    return this.text(text).split('\n').filter(Boolean)
  }

  /** When the victim died, by the clock that all processes share. */
  get diedAtMs(): number {
    return this.#numbers[DIED_AT]
  }

  set diedAtMs(ms: number) {
    this.#numbers[DIED_AT] = ms
  }

  get recoveredInMs(): number {
    return this.#numbers[RECOVERED_IN]
  }

  set recoveredInMs(ms: number) {
    this.#numbers[RECOVERED_IN] = ms
  }
}

/** The clock that all processes share. */
export function sharedNowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Leaves the processor to others for a moment. */
export function nap(): void {
  waitOn(sleeper, 0, 0, 0.1)
}
