import { Segment } from '@isthmus/shm-posix'
import { HeapRegion, type Layout, type PeerId, struct, words } from '@isthmus/sync'
import {
  ATTACHMENTS_WORD,
  type AttachedRegion,
  alignUp,
  LOCK_PID_WORD,
  MAX_PEERS,
  PEERS_BYTE_OFFSET,
  planHeader,
} from '@isthmus/sync/internal'
import { Breach } from './call.js'
import { HEADER, type HostileMemory, type WordRange } from './memory.js'

export type RegionKind = 'heap' | 'segment'

/** A word that no correct agent writes, and that none may read. */
const CANARY = 0x5ec2e75b
export const CANARY_WORDS = 32
export const CANARY_BYTES = Buffer.from(Int32Array.of(CANARY, CANARY).buffer)

/** A structure between two arrays of canaries. */
export function guarded<T>(structure: Layout<T>) {
  return struct({ before: words(CANARY_WORDS), structure, after: words(CANARY_WORDS) })
}

/** The region that is attacked, with two attachments to it. Its memory can be reset to its first state. */
export class Ground<T = unknown> {
  readonly kind: RegionKind
  readonly structure: Layout<T>
  readonly first: AttachedRegion<unknown>
  readonly second: AttachedRegion<unknown>
  readonly memory: HostileMemory
  readonly #layout: Layout<unknown>
  readonly #snapshot: Int32Array
  readonly #outside: readonly WordRange[]

  constructor(kind: RegionKind, structure: Layout<T>) {
    this.kind = kind
    this.structure = structure
    this.#layout = guarded(structure) as Layout<unknown>
    this.first = kind === 'heap' ? HeapRegion.create(this.#layout) : Segment.createAnonymous(this.#layout)
    this.second = this.attach()
    const { words } = this.first
    const start = this.structureByteOffset / 4
    const end = start + Math.ceil(structure.byteLength / 4)
    words.fill(CANARY, planHeader(this.#layout).rootByteOffset / 4, start)
    words.fill(CANARY, end)
    const peers = { from: PEERS_BYTE_OFFSET / 4, to: PEERS_BYTE_OFFSET / 4 + MAX_PEERS * 16 }
    this.memory = {
      words,
      structure: { from: start, to: end },
      peers,
      header: HEADER,
      peerIds: [this.first.peers.self, this.second.peers.self],
    }
    // The rest is legitimately written: the word with the holder of the header lock, the peers table and the structure.
    this.#outside = [
      { from: 0, to: LOCK_PID_WORD },
      { from: ATTACHMENTS_WORD + 1, to: peers.from },
      { from: peers.to, to: start },
      { from: end, to: words.length },
    ]
    this.#snapshot = new Int32Array(words)
  }

  /** Where the structure lies. The root begins with the canaries before it. */
  get structureByteOffset(): number {
    const { rootByteOffset } = planHeader(this.#layout)
    return rootByteOffset + alignUp(CANARY_WORDS * 4, this.structure.byteAlignment)
  }

  get snapshot(): Int32Array {
    return this.#snapshot
  }

  get peerIds(): PeerId[] {
    return this.memory.peerIds as PeerId[]
  }

  /** Makes one more attachment. */
  attach(): AttachedRegion<unknown> {
    const region = this.first
    if (region instanceof HeapRegion) return HeapRegion.attach(region.handle, this.#layout)
    return Segment.attach((region as Segment<unknown>).handle, this.#layout, { lockTimeoutMs: 100 })
  }

  /** What another thread needs to attach to the same memory. */
  get handle(): unknown {
    return (this.first as HeapRegion<unknown> | Segment<unknown>).handle
  }

  /** Attaches to the structure anew, as a new peer would. */
  use(region: AttachedRegion<unknown>): T {
    return this.structure.attach(region, this.structureByteOffset)
  }

  restore(): void {
    this.memory.words.set(this.#snapshot)
  }

  /**
   * @throws Breach if a word outside of the structure and of the peers table is neither unchanged nor overwritten on
   * purpose
   */
  assertOutsideUntouched(written: ReadonlyMap<number, number>): void {
    const { words } = this.memory
    for (const { from, to } of this.#outside) {
      for (let index = from; index < to; index++) {
        const expected = written.get(index) ?? this.#snapshot[index]
        if (words[index] !== expected) {
          throw new Breach(`word ${index}, outside of the structure, is ${words[index]} instead of ${expected}`)
        }
      }
    }
  }

  close(): void {
    this.restore()
    this.second.close()
    this.first.close()
  }
}
