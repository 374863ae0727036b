import { IsthmusError, IsthmusRangeError, IsthmusTypeError, inWords, PeerDiedError } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import { assertOptions } from '../waiting/wait-options.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import { BarrierMember } from './barrier-member.js'
import {
  BARRIER_BYTES,
  BROKEN,
  followingPhase,
  hasArrivedAt,
  MEMBERS_OFFSET,
  memberWord,
  NO_MEMBER,
  PHASE_OFFSET,
  peerOfMember,
  phaseOf,
  WAITER_SET_OFFSET,
  withOneMoreJoin,
  withPhase,
} from './layout.js'

/**
 * What the death of a member does: it breaks the barrier for the others, or they go on without it. (The first phase still
 * waits for as many as `parties` says.)
 */
export type OnMemberDeath = 'break' | 'drop'

export interface BarrierOptions {
  /** With how many members the first phase can end; 1 if not given. Later ones end with those that are members then. */
  readonly parties?: number
  /** What the death of a member does; 'break' if not given. */
  readonly onDeath?: OnMemberDeath
}

export interface BarrierDescription {
  /** The number of the current phase: one more after each phase, two more after a reset; it wraps. */
  readonly phase: number
  readonly isBroken: boolean
  readonly members: readonly BarrierMemberDescription[]
  readonly waiters: readonly PeerDescription[]
}

export interface BarrierMemberDescription extends PeerDescription {
  /** Whether it has arrived at the current phase. */
  readonly hasArrived: boolean
}

/**
 * A barrier in shared memory: its members go on when all of them have arrived.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(barrier({ parties: 1 }))
 * const member = region.root.join()
 * member.waitSync() // true: all one of us are here
 * member.leave()
 * ```
 *
 * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function barrier(options: BarrierOptions = {}): Layout<Barrier> {
  assertOptions(options, 'Making a barrier')
  const { parties = 1, onDeath = 'break' } = options
  if (!Number.isInteger(parties) || parties < 1 || parties > MAX_PEERS) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a barrier: parties is ${inWords(parties)}. Give a whole number from 1 to ${MAX_PEERS}.`,
    )
  }
  if (onDeath !== 'break' && onDeath !== 'drop') {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a barrier: onDeath is ${inWords(onDeath)}. Give 'break' or 'drop'.`,
    )
  }
  return {
    byteLength: BARRIER_BYTES,
    byteAlignment: 4,
    signature: `barrier@1(parties=${parties},onDeath=${onDeath})`,
    /** Zeroed memory is a barrier without members in its first phase. */
    initialize() {},
    attach: (region, byteOffset) => new Barrier(region, byteOffset, parties, onDeath),
    sweep(region, byteOffset, deadPeer) {
      new Barrier(region, byteOffset, parties, onDeath).sweep(deadPeer)
    },
  }
}

/**
 * An attached barrier. An attachment becomes a member with `join`, and is one until it leaves. All calls go through the
 * member that join returns.
 *
 * A central barrier in which each member notes its arrival in a word of its own instead of a shared counter, with explicit
 * registration as in Java's Phaser; the phase ends by one CAS, of whoever sees that it can.
 */
export class Barrier {
  readonly #region: Region
  readonly #words: Int32Array
  readonly #phaseIndex: number
  readonly #firstMember: number
  readonly #parties: number
  readonly #onDeath: OnMemberDeath
  readonly #waiters: WaiterSet
  #member: BarrierMember | undefined

  /** @internal Use the `barrier` layout. */
  constructor(region: Region, byteOffset: number, parties: number, onDeath: OnMemberDeath) {
    this.#region = region
    this.#words = region.words
    this.#phaseIndex = (byteOffset + PHASE_OFFSET) >>> 2
    this.#firstMember = (byteOffset + MEMBERS_OFFSET) >>> 2
    this.#parties = parties
    this.#onDeath = onDeath
    this.#waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET)
  }

  /**
   * Becomes a member: from now on no phase ends without this attachment.
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` where this attachment is a member already
   */
  join(): BarrierMember {
    assertOpen(this.#region)
    if (this.#member !== undefined) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        'Joining a barrier: this attachment is a member of it. Leave first, or attach once more.',
      )
    }
    assertStackRoom()
    let phase: number
    do {
      phase = this.state.phase
      this.#setNextPhase(phase)
    } while (this.state.phase !== phase)
    // A phase that somebody found complete without us has to be looked at once more.
    for (let word = this.#phaseWord; !this.#replacePhase(word, withOneMoreJoin(word)); word = this.#phaseWord);
    this.#member = new BarrierMember(this, this.#waiters)
    return this.#member
  }

  /** After a member's death has broken it: a new phase begins, without those who died. Any member that is left may call it. */
  reset(): void {
    assertOpen(this.#region)
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) === 0) return
      // Two steps: who waited for the end of the broken phase can tell that it never ended.
      const phase = followingPhase(phaseOf(word), 2)
      for (const member of this.#members()) {
        const peer = peerOfMember(member)
        // Not arrived at the broken phase is not arrived at any that comes by resets, each two further, modulo 8.
        const replacement = this.#region.peers.isDead(peer) ? NO_MEMBER : memberWord(peer, phaseOf(word))
        // Somebody else may have reset it, and this member arrived since: not if the phase is still the broken one. If we
        // are stopped right here, for eight phases, we take its arrival back; see upholdArrival.
        if (this.#phaseWord === word) this.#replaceMember(member, replacement)
      }
      if (!this.#replacePhase(word, withPhase(word, phase))) continue
      this.#waiters.notifyAll()
      return
    }
  }

  /** Who is a member, who has arrived and who waits, for people and tools: it is old when it is read. */
  describe(): BarrierDescription {
    const { peers } = assertOpen(this.#region)
    const { phase, isBroken } = this.state
    const members = this.#members().map((word) => {
      return { ...peers.describe(peerOfMember(word)), hasArrived: hasArrivedAt(word, phase) }
    })
    return { phase, isBroken, members, waiters: this.#waiters.waiters() }
  }

  /** @internal */
  get region(): Region {
    return this.#region
  }

  /** @internal */
  get state(): { phase: number; isBroken: boolean } {
    const word = this.#phaseWord
    return { phase: phaseOf(word), isBroken: (word & BROKEN) !== 0 }
  }

  /**
   * @internal This attachment has come to the end of the phase. By CAS from a word that was read before the phase: if we
   * are stopped in between, while it is broken and reset again and again, our word changes with it.
   */
  arrive(phase: number): void {
    const index = this.#ownIndex()
    const arrived = memberWord(this.#region.peers.self, followingPhase(phase))
    for (;;) {
      const member = Atomics.load(this.#words, index)
      if (this.state.phase !== phase) return
      if (Atomics.compareExchange(this.#words, index, member, arrived) === member) break
    }
    this.endPhaseIfComplete()
  }

  /**
   * @internal For a member that waits for the end of this phase: a reset that came late may have taken its arrival back.
   * Returns whether it had to arrive once more.
   */
  upholdArrival(phase: number): boolean {
    if (hasArrivedAt(Atomics.load(this.#words, this.#ownIndex()), phase)) return false
    this.arrive(phase)
    return true
  }

  /** @internal Whoever sees that all have arrived ends the phase. */
  endPhaseIfComplete(): void {
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) !== 0) return
      const phase = phaseOf(word)
      const members = this.#members()
      const isEnough = members.length >= (phase === 0 ? this.#parties : 1)
      if (!isEnough || !members.every((member) => hasArrivedAt(member, phase))) return
      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue
      this.#waiters.notifyAll()
      return
    }
  }

  /** @internal Looks which members are dead, and does what the barrier does about it. */
  reapDead(): void {
    for (const member of this.#members()) {
      if (this.#region.peers.isDead(peerOfMember(member))) this.#removeDead(member)
    }
    // Whoever was about to end the phase may have been killed on the way.
    this.endPhaseIfComplete()
  }

  /**
   * @internal For a thread that is about to block for the end of this phase: its other members cannot arrive while it does.
   * @throws IsthmusError `EDEADLK`
   */
  assertNotWaitingForOwnThread(phase: number): void {
    const { peers } = this.#region
    const isOwnAndMissing = (word: number) => !hasArrivedAt(word, phase) && peers.isOwnThread(peerOfMember(word))
    const isMissing = this.#members().some(isOwnAndMissing)
    const { state } = this
    if (!isMissing || state.isBroken || state.phase !== phase) return
    throw new IsthmusError(
      'EDEADLK',
      'Waiting at a barrier: another member of this very thread has not arrived, and cannot while the thread blocks. Let it arrive first (tryWait), or await wait().',
    )
  }

  /** @internal */
  leave(): void {
    assertStackRoom()
    this.#member = undefined
    Atomics.store(this.#words, this.#ownIndex(), NO_MEMBER)
    this.endPhaseIfComplete()
  }

  /** @internal */
  sweep(deadPeer: PeerId): void {
    this.#waiters.sweep(deadPeer)
    // Once more where a reset, which began before the death, has rewritten the word meanwhile.
    for (;;) {
      const member = Atomics.load(this.#words, this.#firstMember + slotOf(deadPeer))
      if (peerOfMember(member) !== deadPeer) break
      this.#removeDead(member)
    }
    this.endPhaseIfComplete()
  }

  /** @internal */
  dependsOn(): PeerId[] {
    return this.#members().map(peerOfMember)
  }

  #removeDead(member: number): void {
    // First the others are told, then the name goes: killed in between, the next one tells them again.
    if (this.#onDeath === 'break') this.#breakFor(member)
    this.#replaceMember(member, NO_MEMBER)
  }

  #breakFor(member: number): void {
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) !== 0) return
      // Somebody else may have broken and reset it for this one.
      if (!this.#members().includes(member)) return
      if (!this.#replacePhase(word, word | BROKEN)) continue
      this.#waiters.notifyAll()
      return
    }
  }

  get #phaseWord(): number {
    return Atomics.load(assertOpen(this.#region).words, this.#phaseIndex)
  }

  #replacePhase(word: number, replacement: number): boolean {
    return Atomics.compareExchange(this.#words, this.#phaseIndex, word, replacement) === word
  }

  /** Their words. */
  #members(): number[] {
    const words: number[] = []
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      const word = Atomics.load(this.#words, this.#firstMember + slot)
      if (word !== NO_MEMBER) words.push(word)
    }
    return words
  }

  #replaceMember(member: number, replacement: number): void {
    Atomics.compareExchange(this.#words, this.#firstMember + slotOf(peerOfMember(member)), member, replacement)
  }

  #setNextPhase(phase: number): void {
    Atomics.store(this.#words, this.#ownIndex(), memberWord(this.#region.peers.self, phase))
  }

  #ownIndex(): number {
    return this.#firstMember + slotOf(this.#region.peers.self)
  }
}

/** @internal */
export function brokenError(): PeerDiedError {
  return new PeerDiedError('Waiting at a barrier: a member died, and broke it for all. Call reset to go on without it.')
}
