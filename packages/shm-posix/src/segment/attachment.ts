import { closeSync, fstatSync, type Stats } from 'node:fs'
import { threadId } from 'node:worker_threads'
import {
  type Attachment,
  type HeaderFacts,
  PEERS_BYTE_OFFSET,
  PeerTable,
  type Sweep,
  slotOf,
} from '@isthmus/sync/internal'
import { OfdLiveness } from '../liveness/ofd-liveness.js'
import { mapOwnDescription } from '../mapping/mapper.js'
import type { MapperName, Mapping } from '../mapping/mapping.js'
import { removeFifosIfGone } from '../thread/fifo-removal.js'
import { PeerEndpoints } from '../thread/peer-endpoint.js'
import { type EndpointsReference, ThreadEndpoints } from '../thread/thread-endpoints.js'
import { FutexWaiter } from '../waiting/futex-waiter.js'
import { SegmentWaiter } from '../waiting/segment-waiter.js'
import { Durability, type Joining } from './durability.js'
import { FileImage } from './file-image.js'
import { type LockedFile, withHeaderLock } from './header-lock.js'
import type { Location } from './location.js'
import { orUndo } from './undo.js'

/** Descriptors of segments that the program has forgotten without closing them. */
const forgottenDescriptors = new FinalizationRegistry<number>((fd) => closeSync(fd))

/** What an attachment has to know of a segment's header. */
export type SegmentShape = Pick<HeaderFacts, 'byteLength' | 'rootByteOffset' | 'regionId'>

/**
 * One attachment to a segment: the open file, its mapping, a reference to the endpoints of this thread, and a peer slot as
 * soon as it has joined. It knows nothing of the structures in the memory.
 */
export class SegmentAttachment implements Attachment {
  readonly fd: number
  readonly location: Location
  readonly segmentId: string
  readonly memory: Mapping
  readonly waiter: SegmentWaiter
  readonly peers: PeerTable
  /** Undefined for memory, which does not survive a restart of the machine. */
  readonly durability: Durability | undefined
  readonly #image: FileImage
  readonly #file: LockedFile
  readonly #endpoints: EndpointsReference
  readonly #peerEndpoints: PeerEndpoints

  /**
   * Maps the file, and makes the FIFOs of this thread: everything that takes long, before the header lock is asked for.
   * @param fd stays the caller's if this throws; afterwards it belongs to the attachment
   */
  static map(fd: number, location: Location, shape: SegmentShape, mapper: MapperName | undefined): SegmentAttachment {
    return orUndo((undo) => {
      const mapping = mapOwnDescription(fd, shape.byteLength, mapper)
      undo.add(() => mapping.unmap())
      const file = fstatSync(fd)
      const endpoints = ThreadEndpoints.acquire(location, file)
      undo.add(() => endpoints.release())
      return new SegmentAttachment(fd, file, location, shape, mapping, endpoints)
    })
  }

  private constructor(
    fd: number,
    file: Stats,
    location: Location,
    { regionId, rootByteOffset }: SegmentShape,
    mapping: Mapping,
    endpoints: EndpointsReference,
  ) {
    const { subject, directory, isFile } = location
    const key = Number.parseInt(regionId.slice(0, 8), 16) | 0
    const segment = { subject, directory, isFile, file, key }
    const futex = new FutexWaiter(mapping.address)
    this.fd = fd
    this.location = location
    this.segmentId = regionId
    this.memory = mapping
    this.peers = new PeerTable(mapping.words, PEERS_BYTE_OFFSET, new OfdLiveness(fd))
    this.#peerEndpoints = new PeerEndpoints(this.peers, segment)
    this.waiter = new SegmentWaiter(futex, this.peers, endpoints.endpoints, this.#peerEndpoints, segment)
    this.#endpoints = endpoints
    this.#file = { fd, subject, memory: { words: mapping.words, futex } }
    this.#image = new FileImage(fd, subject, mapping, rootByteOffset)
    this.durability = isFile ? new Durability(this.#file, this.#image, this.peers) : undefined
  }

  get subject(): string {
    return this.location.subject
  }

  /** Gives the descriptor and the endpoints back also if the program forgets the owner without closing it. */
  belongTo(owner: object): void {
    this.#endpoints.belongTo(owner)
    forgottenDescriptors.register(owner, this.fd, this)
  }

  /**
   * Takes a peer slot, under the header lock. Returns false if the segment was removed since it was opened.
   *
   * A segment in memory: (1) take the header lock; (2) check that the name still leads to this file, and that no remover
   * has marked it; (3) count the attachment; (4) claim a slot, and sweep what its dead holder left; (5) leave the lock.
   * A peer that is killed in between leaves at most a slot that the next one sweeps. For a file, see Durability.join.
   */
  join(joining: Joining): boolean {
    const claimSlot = () => this.claimSlot(joining.sweep)
    const sweepDead = () => this.peers.sweepDead(this.#sweepingFifos(joining.sweep))
    if (this.durability !== undefined) return this.durability.join(joining, claimSlot, sweepDead)
    return withHeaderLock(this.#file, 'attaching', joining.deadline, () => {
      if (!joining.isStillThere()) return false
      this.#image.countAttachment()
      claimSlot()
      return true
    })
  }

  /** Takes a peer slot without the header lock, for the creator of a segment that no one else can reach yet. */
  claimSlot(sweep: Sweep): void {
    const { loopId, address } = this.#endpoints.endpoints
    this.peers.claim({ pid: process.pid, threadId, loopId, address }, this.#sweepingFifos(sweep))
  }

  /** Adds to the sweep of a slot what its last holder left outside of the segment. */
  #sweepingFifos(sweep: Sweep): Sweep {
    return (deadPeer) => {
      sweep(deadPeer)
      const thread = this.#peerEndpoints.at(slotOf(deadPeer))
      if (thread !== undefined) removeFifosIfGone(thread)
    }
  }

  /**
   * Gives everything back: slot, memory, descriptor, endpoints.
   * @param keepsMemory whether the program may still use the memory, which then stays until it is collected
   */
  release(keepsMemory = false): void {
    forgottenDescriptors.unregister(this)
    try {
      if (this.peers.isAttached) this.peers.release()
      if (!keepsMemory) this.memory.unmap()
    } finally {
      closeSync(this.fd)
      // After the slot: no peer may find a thread in it that cannot be reached any more.
      this.#endpoints.release()
    }
  }
}
