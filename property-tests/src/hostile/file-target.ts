import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { type SpscRing, spscRing } from '@isthmus/ring'
import { type OpenOptions, Segment } from '@isthmus/shm-posix'
import { type Layout, struct, u32 } from '@isthmus/sync'
import { MAX_PEERS, PEERS_BYTE_OFFSET, planHeader } from '@isthmus/sync/internal'
import type { AllocationWatch } from './allocation-watch.js'
import { Breach, type Call, perform } from './call.js'
import { hostileWord } from './hostile-word.js'
import { HEADER, type HostileMemory, mutationText, write } from './memory.js'
import { Random } from './random.js'
import { CaseFailure, type CaseReport, type Target } from './target.js'

const layout = struct({ ring: spscRing({ capacityBytes: 256, maxMessageBytes: 1024 }), count: u32() })
const otherLayout = struct({ count: u32() })
const ALLOCATION_BYTES_MAX = 128 * 1024
const LOCK_TIMEOUT_MS = 20
const DIRECTORY = '/dev/shm'

/** Opens, lists, prunes and unlinks files that are damaged, cut short, or no segments at all. */
export class FileTarget implements Target {
  readonly name = 'file/segment/between'
  readonly scribbles = 0
  readonly #allocations: AllocationWatch
  readonly #prefix: string
  readonly #sound: Uint8Array
  #count = 0

  constructor(allocations: AllocationWatch, prefix: string) {
    this.#allocations = allocations
    this.#prefix = prefix
    this.#sound = this.#soundFile()
  }

  async run(seed: number): Promise<CaseReport> {
    const random = new Random(seed)
    const name = `${this.#prefix}${this.#count++}`
    const path = `${DIRECTORY}/${name}`
    const log: string[] = []
    const answers: string[] = []
    let mutations = 0
    let calls = 0
    try {
      mutations = this.#plant(path, random, log)
      this.#allocations.take()
      for (let step = 1 + random.below(4); step > 0; step--) {
        const call = this.#next(name, random)
        calls++
        const at = log.push(call.name) - 1
        const answer = await perform(call)
        answers.push(answer)
        log[at] = `${call.name}: ${answer}`
      }
      const largest = this.#allocations.take()
      if (largest > ALLOCATION_BYTES_MAX) throw new Breach(`${largest} bytes were allocated at once`)
    } catch (error) {
      throw new CaseFailure(error, log)
    } finally {
      rmSync(path, { recursive: true, force: true })
    }
    return { mutations, calls, answers, log }
  }

  async close(): Promise<void> {}

  /** The bytes of a valid segment with messages in it and a peer that has gone. */
  #soundFile(): Uint8Array {
    const name = `${this.#prefix}sound`
    const segment = Segment.create(`/${name}`, layout)
    try {
      const producer = segment.root.ring.producer()
      for (let length = 0; length < 5; length++) producer.trySend(new Uint8Array(length * 5))
      segment.close()
      return new Uint8Array(readFileSync(`${DIRECTORY}/${name}`))
    } finally {
      segment.close()
      Segment.unlink(`/${name}`)
    }
  }

  /** Writes a damaged file. Returns in how many places it is damaged. */
  #plant(path: string, random: Random, log: string[]): number {
    if (random.isOneIn(24)) return this.#plantForeign(path, random, log)
    const bytes = this.#sound.slice()
    const words = new Int32Array(bytes.buffer)
    const start = planHeader(layout).rootByteOffset / 4
    const memory: HostileMemory = {
      words,
      structure: { from: start, to: words.length },
      peers: { from: PEERS_BYTE_OFFSET / 4, to: PEERS_BYTE_OFFSET / 4 + MAX_PEERS * 16 },
      header: HEADER,
      peerIds: [128, 129],
    }
    const count = 1 + random.below(6)
    for (let blow = 0; blow < count; blow++) {
      const isInHeader = random.isOneIn(2)
      const signature = { from: memory.peers.to, to: start }
      const range = isInHeader ? memory.header : random.of([memory.structure, memory.peers, signature])
      const index = range.from + random.below(range === memory.header ? 20 : range.to - range.from)
      log.push(`  ${mutationText(write(words, index, hostileWord(index, memory, random)), memory)}`)
    }
    const byteLength = random.isOneIn(8) ? random.below(bytes.byteLength + 4096) : bytes.byteLength
    log.push(`  ${byteLength} of ${bytes.byteLength} bytes`)
    const longer = new Uint8Array(byteLength)
    longer.set(bytes.subarray(0, byteLength))
    writeFileSync(path, longer, { mode: 0o600 })
    return count
  }

  #plantForeign(path: string, random: Random, log: string[]): number {
    const kind = random.of(['directory', 'symlink', 'dangling', 'empty', 'noise', 'magic', 'zeros'])
    log.push(`  a foreign thing: ${kind}`)
    if (kind === 'directory') mkdirSync(path)
    else if (kind === 'symlink') symlinkSync('/etc/hostname', path)
    else if (kind === 'dangling') symlinkSync(`${path}-nowhere`, path)
    else if (kind === 'empty') writeFileSync(path, '')
    else if (kind === 'zeros') writeFileSync(path, new Uint8Array(16_384))
    else {
      const noise = Int32Array.from({ length: 1 + random.below(5000) }, () => random.word())
      const bytes = new Uint8Array(noise.buffer)
      if (kind === 'magic') bytes.set(this.#sound.subarray(0, 4 * random.below(32)))
      writeFileSync(path, bytes)
    }
    return 1
  }

  #next(name: string, random: Random): Call {
    const timeoutMs = LOCK_TIMEOUT_MS
    const options: OpenOptions = { lockTimeoutMs: LOCK_TIMEOUT_MS, recover: random.isOneIn(2) }
    // Segment files are flushed and checked as well.
    const where = random.isOneIn(3) ? { file: `${DIRECTORY}/${name}` } : `/${name}`
    const use = (segment: Segment<{ readonly ring: SpscRing }>) => () => useAndClose(segment, random)
    switch (random.below(10)) {
      case 0:
        return { name: 'list', run: () => Segment.list() }
      case 1:
        return { name: 'prune', run: () => Segment.prune({ prefix: `/${name}`, force: random.isOneIn(2) }) }
      case 2:
        return { name: 'unlink', timeoutMs, run: () => Segment.unlink(where, options) }
      case 3:
        return {
          name: 'open with another layout',
          timeoutMs,
          run: () => Segment.open(where, otherLayout as Layout<unknown>, options).close(),
        }
      case 4:
        return { name: 'create', timeoutMs, run: () => use(Segment.create(where, layout, options))() }
      case 5:
      case 6:
        return { name: 'openOrCreate', timeoutMs, run: () => use(Segment.openOrCreate(where, layout, options))() }
      default:
        return { name: 'open', timeoutMs, run: () => use(Segment.open(where, layout, options))() }
    }
  }
}

function useAndClose(segment: Segment<{ readonly ring: SpscRing }>, random: Random): void {
  try {
    const { ring } = segment.root
    ring.describe()
    const consumer = ring.consumer()
    for (let count = random.below(8); count > 0; count--) consumer.tryReceive()
    ring.producer().trySend(new Uint8Array(random.below(100)))
    segment.flush()
  } finally {
    segment.close()
  }
}
