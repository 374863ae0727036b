import { closedError, IsthmusError } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import {
  DEAD,
  FREE,
  generationOfSlotWord,
  LIVE,
  LOOP_ID_WORD,
  NO_PLACE,
  PEER_SLOT_BYTES,
  PID_WORD,
  PLACE_WORD,
  STATE_WORD,
  slotWord,
  stateOfSlotWord,
  THREAD_ID_WORD,
  UID_WORD,
  UNREACHABLE_WORD,
} from './layout.js'
import { ownLoops } from './own-loops.js'
import { assertPeer, generationOf, MAX_PEERS, nextGeneration, type PeerId, peerId, slotOf } from './peer-id.js'
import type { Liveness, LoopAddress, LoopId, PeerDescription, PeerIdentity, Peers } from './peers.js'

/** Gives back what a proven-dead peer held in the structures of the region. Idempotent. */
export type Sweep = (deadPeer: PeerId) => void

const NO_LOOP_ID: LoopId = [0, 0]

/** The peers table of one region, as used by one attachment. See layout.ts for the words. */
export class PeerTable implements Peers {
  readonly #words: Int32Array
  readonly #firstWord: number
  readonly #liveness: Liveness
  #self: PeerId | undefined
  /** The loop id that this attachment has written. Another peer may have overwritten the words in the memory. */
  #loopId: LoopId = NO_LOOP_ID
  #isReleased = false

  constructor(words: Int32Array, byteOffset: number, liveness: Liveness) {
    this.#words = words
    this.#firstWord = byteOffset >>> 2
    this.#liveness = liveness
  }

  get self(): PeerId {
    if (this.#self === undefined)
      throw new IsthmusError('ERR_ISTHMUS_CLOSED', 'Using an attachment: it has no peer slot. Attach again.')
    return this.#self
  }

  get isAttached(): boolean {
    return this.#self !== undefined
  }

  /**
   * Takes a slot for this attachment. If the last holder of a slot is proven dead, the slot is swept first: while a slot is
   * LIVE, every word in the region that names the slot belongs to its present holder.
   *
   * 1. Pass over slots that are LIVE, and slots whose lease another agent has.
   * 2. Take the lease, and sweep what the last holder left.
   * 3. Write process, thread, loop id and address.
   * 4. Store LIVE with the next generation: from now on the peer is attached.
   *
   * If the claimer is killed before step 4, the slot is not LIVE, and the next claimer begins with step 2 again.
   * @throws IsthmusError `ERR_ISTHMUS_TOO_MANY_PEERS`
   */
  claim(agent: PeerIdentity, sweep: Sweep): PeerId {
    assertStackRoom()
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      if (this.#stateOf(slot) === LIVE || !this.#liveness.tryAcquire(slot)) continue
      const generation = this.#sweepHeldSlot(slot, sweep)
      const base = this.#wordOf(slot)
      this.#words[base + PID_WORD] = agent.pid
      this.#words[base + THREAD_ID_WORD] = agent.threadId
      const [low, high] = agent.loopId ?? NO_LOOP_ID
      this.#words[base + LOOP_ID_WORD] = low
      this.#words[base + LOOP_ID_WORD + 1] = high
      this.#words[base + PLACE_WORD] = agent.address?.place ?? 0
      this.#words[base + UID_WORD] = agent.address?.uid ?? 0
      this.#words[base + UNREACHABLE_WORD] = agent.address?.place === NO_PLACE ? 1 : 0
      const next = nextGeneration(generation)
      // SYNC peer attached: publishes pid, thread id, loop id and address
      Atomics.store(this.#words, base + STATE_WORD, slotWord(next, LIVE))
      this.#loopId = [low, high]
      if (low !== 0 || high !== 0) ownLoops.add(this.#loopId)
      this.#self = peerId(slot, next)
      return this.#self
    }
    throw new IsthmusError(
      'ERR_ISTHMUS_TOO_MANY_PEERS',
      `Attaching to the region: all ${MAX_PEERS} peer slots are held by live peers. Close attachments that are no longer used.`,
    )
  }

  /** Gives the slot back. The caller must have given back everything else before. */
  release(): void {
    const self = this.self
    const slot = slotOf(self)
    Atomics.store(this.#words, this.#wordOf(slot) + STATE_WORD, slotWord(generationOf(self), FREE))
    this.#liveness.release(slot)
    ownLoops.remove(this.#loopId)
    this.#self = undefined
    this.#isReleased = true
  }

  /** Sweeps and frees each slot whose holder is proven dead. */
  sweepDead(sweep: Sweep): void {
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      if (this.#self !== undefined && slot === slotOf(this.#self)) continue
      const state = this.#stateOf(slot)
      if (state === FREE || state === LIVE || !this.#liveness.tryAcquire(slot)) continue
      const generation = this.#sweepHeldSlot(slot, sweep)
      Atomics.store(this.#words, this.#wordOf(slot) + STATE_WORD, slotWord(generation, FREE))
      this.#liveness.release(slot)
    }
  }

  at(slot: number): PeerId | undefined {
    if (!Number.isInteger(slot) || slot < 0 || slot >= MAX_PEERS) return undefined
    const word = Atomics.load(this.#words, this.#wordOf(slot) + STATE_WORD)
    return stateOfSlotWord(word) === LIVE ? peerId(slot, generationOfSlotWord(word)) : undefined
  }

  isDead(peer: PeerId): boolean {
    if (peer === this.#self) return false
    assertPeer(peer, 'Asking for a proof of death')
    // The proof needs the attachment: after it, its descriptor may belong to another file.
    if (this.#isReleased) throw closedError('Asking for a proof of death')
    // Check the generation again after the lease: the lease may already belong to the slot's next holder. Without this
    // second check, a caller that stalls between the two could report a dead peer as alive.
    return this.#hasMovedOn(peer) || !this.#liveness.isHeldByAnother(slotOf(peer)) || this.#hasMovedOn(peer)
  }

  isOwnThread(peer: PeerId): boolean {
    if (peer === this.#self) return true
    assertPeer(peer, 'Asking for the thread of a peer')
    // Checked after the loop id, which belongs to the next holder if the slot has moved on.
    return ownLoops.has(this.loopIdAt(slotOf(peer))) && !this.#hasMovedOn(peer)
  }

  others(): PeerId[] {
    const others: PeerId[] = []
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      const peer = this.at(slot)
      if (peer !== undefined && peer !== this.#self) others.push(peer)
    }
    return others
  }

  hasDead(): boolean {
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      const state = stateOfSlotWord(Atomics.load(this.#words, this.#wordOf(slot) + STATE_WORD))
      if (state === DEAD) return true
      const isOwn = this.#self !== undefined && slot === slotOf(this.#self)
      if (state === LIVE && !isOwn && !this.#liveness.isHeldByAnother(slot)) return true
    }
    return false
  }

  /** Names the thread of the holder of a slot, or of its last holder. */
  loopIdAt(slot: number): LoopId {
    const index = this.#wordOf(slot) + LOOP_ID_WORD
    return [this.#words[index], this.#words[index + 1]]
  }

  /** The process of the holder of a slot, or of its last holder, as its own PID namespace counts. */
  pidAt(slot: number): number {
    return this.#words[this.#wordOf(slot) + PID_WORD]
  }

  /** Where the event loop of the holder of a slot, or of its last holder, can be woken. */
  addressAt(slot: number): LoopAddress {
    const base = this.#wordOf(slot)
    return { place: this.#words[base + PLACE_WORD], uid: this.#words[base + UID_WORD] }
  }

  /** Tells a peer that a waker could not reach its event loop, so that it polls by itself. */
  noteUnreachable(peer: PeerId): void {
    if (this.at(slotOf(peer)) === peer) Atomics.store(this.#words, this.#wordOf(slotOf(peer)) + UNREACHABLE_WORD, 1)
  }

  /** Whether a waker could not reach this attachment's event loop. */
  get isUnreachable(): boolean {
    return this.#self !== undefined && this.#words[this.#wordOf(slotOf(this.#self)) + UNREACHABLE_WORD] !== 0
  }

  /** Says that the event loop of this attachment can be reached again. */
  forgetUnreachable(): void {
    if (this.#self !== undefined) Atomics.store(this.#words, this.#wordOf(slotOf(this.#self)) + UNREACHABLE_WORD, 0)
  }

  describe(peer: PeerId): PeerDescription {
    assertPeer(peer, 'Describing a peer')
    const base = this.#wordOf(slotOf(peer))
    return {
      peer,
      slot: slotOf(peer),
      generation: generationOf(peer),
      pid: this.#words[base + PID_WORD],
      threadId: this.#words[base + THREAD_ID_WORD],
      isDead: this.isDead(peer),
      canBeWoken: this.#words[base + UNREACHABLE_WORD] === 0,
    }
  }

  list(): PeerDescription[] {
    const peers: PeerDescription[] = []
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      const peer = this.at(slot)
      if (peer !== undefined) peers.push(this.describe(peer))
    }
    return peers
  }

  /** SYNC peer attached: another generation, or another state than LIVE, says that this peer is gone. */
  #hasMovedOn(peer: PeerId): boolean {
    return Atomics.load(this.#words, this.#wordOf(slotOf(peer)) + STATE_WORD) !== slotWord(generationOf(peer), LIVE)
  }

  /**
   * Returns LIVE only if the holder is alive: it takes the lease before it stores LIVE, so a free lease proves its death.
   * An agent must see another state before it takes the lease. If it took the lease of a LIVE slot, the dead holder would
   * look alive to all others until the agent has stored DEAD, and the agent may be stopped in between.
   */
  #stateOf(slot: number): number {
    const index = this.#wordOf(slot) + STATE_WORD
    const word = Atomics.load(this.#words, index)
    const state = stateOfSlotWord(word)
    if (state !== LIVE || this.#liveness.isHeldByAnother(slot)) return state
    const found = Atomics.compareExchange(this.#words, index, word, slotWord(generationOfSlotWord(word), DEAD))
    return found === word ? DEAD : stateOfSlotWord(found)
  }

  /** Called with the lease. Gives back what the slot's generation left, and returns that generation. */
  #sweepHeldSlot(slot: number, sweep: Sweep): number {
    const index = this.#wordOf(slot) + STATE_WORD
    const word = Atomics.load(this.#words, index)
    const generation = generationOfSlotWord(word)
    if (stateOfSlotWord(word) === FREE) return generation
    // The lease proves the death. DEAD tells it to peers that do not see the lease change hands.
    Atomics.store(this.#words, index, slotWord(generation, DEAD))
    try {
      sweep(peerId(slot, generation))
    } catch (error) {
      this.#liveness.release(slot)
      throw error
    }
    return generation
  }

  #wordOf(slot: number): number {
    return this.#firstWord + (slot * PEER_SLOT_BYTES) / 4
  }
}
