import { AttachedRegion } from '../attachment/attached-region.js'
import {
  assertHolds,
  assertReady,
  FIXED_HEADER_BYTES,
  markReady,
  PEERS_BYTE_OFFSET,
  planHeader,
  readHeader,
  writeHeader,
} from '../attachment/header.js'
import { isSharedArrayBuffer } from '../brands.js'
import { IsthmusError, IsthmusRangeError, IsthmusTypeError, inWords } from '../errors.js'
import type { Layout } from '../layout/layout.js'
import { DeclaredLiveness } from '../peers/declared-liveness.js'
import { ownLoops } from '../peers/own-loops.js'
import { assertPeer, type PeerId } from '../peers/peer-id.js'
import { PeerTable } from '../peers/peer-table.js'
import { pendingWaits } from '../waiting/pending-waits.js'
import { assertOptions } from '../waiting/wait-options.js'
import { HeapWaiter } from './heap-waiter.js'

/** What another thread needs to attach. Send it with `postMessage` or `workerData`. */
export interface HeapRegionHandle {
  readonly isthmus: 'heap-region'
  readonly buffer: SharedArrayBuffer
}

export interface HeapRegionOptions {
  /** worker_threads' threadId, for messages and tools. */
  readonly threadId?: number
}

/** What error messages call it: it has no name. */
const SUBJECT = 'a heap region'

/** A global of Node.js. Browsers do not have it. */
declare const process: { readonly pid?: number } | undefined

/**
 * A region over a plain SharedArrayBuffer, for the threads of one process or page. It needs no native code.
 *
 * Nothing can prove the death of a thread here. If a worker may be terminated while it holds something, the program must
 * say so: `worker.on('exit', () => region.declareDead(peer))`, with the `region.peers.self` of the worker.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(orders)
 * // new Worker('./worker.js', { workerData: region.handle }), and in the worker, with its workerData:
 * const sameRegion = HeapRegion.attach(region.handle, orders)
 * sameRegion.root.total.value = 12.5
 * region.root.total.value // 12.5
 * ```
 */
export class HeapRegion<T> extends AttachedRegion<T> {
  readonly handle: HeapRegionHandle
  readonly #liveness: DeclaredLiveness
  readonly #waiter: HeapWaiter

  /**
   * A new region with zeroed memory, in which the layout is initialised.
   *
   * @example
   * ```ts
   * const region = HeapRegion.create(struct({ total: f64() }))
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED` in a page without SharedArrayBuffer
   * @throws IsthmusTypeError, IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the layout is not one, or larger than 4 GiB
   */
  static create<T>(layout: Layout<T>, options: HeapRegionOptions = {}): HeapRegion<T> {
    assertSharedMemory()
    const threadId = threadIdOf(options)
    const plan = planHeader(layout)
    const region = new HeapRegion(new SharedArrayBuffer(plan.byteLength), layout, plan.rootByteOffset)
    writeHeader(region.words, region.bytes, plan, layout)
    region.#claimSlot(threadId)
    layout.initialize(region, plan.rootByteOffset)
    markReady(region.words)
    return region
  }

  /**
   * Attaches this thread to a region that another thread has created.
   *
   * @example
   * ```ts
   * const created = HeapRegion.create(struct({ total: f64() }))
   * // in a worker, created.handle comes with its workerData
   * const region = HeapRegion.attach(created.handle, struct({ total: f64() }))
   * ```
   *
   * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the handle is not one
   * @throws IsthmusError `ERR_ISTHMUS_LAYOUT_MISMATCH` if the region was created with another layout;
   * `ERR_ISTHMUS_TOO_MANY_PEERS`; `ERR_ISTHMUS_FOREIGN`, `ERR_ISTHMUS_VERSION`, `ERR_ISTHMUS_SIZE`, `ERR_ISTHMUS_CORRUPT`
   * if the memory does not hold a region of this release; `ERR_ISTHMUS_UNSUPPORTED` as `create`
   */
  static attach<T>(handle: HeapRegionHandle, layout: Layout<T>, options: HeapRegionOptions = {}): HeapRegion<T> {
    assertSharedMemory()
    const threadId = threadIdOf(options)
    const buffer: unknown = handle?.buffer
    if (!isSharedArrayBuffer(buffer)) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Attaching to a heap region: its handle has ${kindOf(buffer)} where the SharedArrayBuffer should be. Give the handle of the region that HeapRegion.create made, through postMessage or workerData.`,
      )
    }
    const bytes = new Uint8Array(buffer)
    const facts = readHeader(bytes.slice(0, FIXED_HEADER_BYTES), { subject: SUBJECT, byteLength: bytes.byteLength })
    assertReady(SUBJECT, facts)
    assertHolds(layout, SUBJECT, bytes.slice(0, facts.rootByteOffset), facts)
    const region = new HeapRegion(buffer, layout, facts.rootByteOffset)
    region.#claimSlot(threadId)
    return region
  }

  private constructor(buffer: SharedArrayBuffer, layout: Layout<T>, rootByteOffset: number) {
    const words = new Int32Array(buffer, 0, buffer.byteLength / 4)
    const bytes = new Uint8Array(buffer, 0, buffer.byteLength)
    const liveness = new DeclaredLiveness(words, PEERS_BYTE_OFFSET)
    const peers = new PeerTable(words, PEERS_BYTE_OFFSET, liveness)
    const waiter = new HeapWaiter(words, PEERS_BYTE_OFFSET)
    super({ subject: SUBJECT, memory: { words, bytes }, waiter, peers }, layout, rootByteOffset)
    this.#waiter = waiter
    this.#liveness = liveness
    this.handle = { isthmus: 'heap-region', buffer }
  }

  /**
   * To be called when the thread of this attachment no longer runs, from the exit event of its worker. What the peer held is
   * given back, and its waiters learn of its death. It does nothing for a peer that has already detached.
   *
   * @example
   * ```ts
   * const [peer] = region.peers.others() // a worker that has exited
   * region.declareDead(peer)
   * region.peers.isDead(peer) // true
   * ```
   *
   * @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the peer is this attachment
   */
  declareDead(peer: PeerId): void {
    assertPeer(peer, 'Declaring a peer dead')
    if (peer === this.peers.self) {
      throw new IsthmusRangeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        'Declaring a peer dead: the peer is this attachment itself. Use close instead.',
      )
    }
    this.#liveness.declareDead(peer, this.peers.self, this.sweep)
    // After the sweep: the waiters now find what the dead peer held.
    for (const other of this.peers.others()) this.#waiter.wakeLoop(other)
    pendingWaits.schedulePoll()
  }

  protected override detach(): void {
    this.#waiter.detach()
    this.peerTable.release()
  }

  #claimSlot(threadId: number): void {
    const pid = (typeof process === 'undefined' ? undefined : process.pid) ?? 0
    this.#waiter.attach(this.peerTable.claim({ pid, threadId, loopId: ownLoops.heapLoopId }, this.sweep))
  }
}

function threadIdOf(options: HeapRegionOptions): number {
  assertOptions(options, 'Using a heap region')
  const { threadId = 0 } = options
  if (Number.isSafeInteger(threadId)) return threadId
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Using a heap region: threadId is ${inWords(threadId)}. Give worker_threads' threadId, or leave it out.`,
  )
}

/** Browsers hide SharedArrayBuffer from pages that are not isolated from others. */
function assertSharedMemory(): void {
  if (typeof SharedArrayBuffer === 'function') return
  throw new IsthmusError(
    'ERR_ISTHMUS_UNSUPPORTED',
    'Using a heap region: there is no SharedArrayBuffer here. A page has it if it is served with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.',
  )
}

function kindOf(value: unknown): string {
  return typeof value === 'object' && value !== null ? (value.constructor?.name ?? 'an object') : String(value)
}
