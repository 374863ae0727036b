import { MAX_PEERS, type PeerId, slotOf } from '../peers/peer-id.js'
import { assertOpen, type Region } from '../region/region.js'
import { WaiterSet } from '../waiting/waiter-set.js'
import {
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
 * waits for as many members as `parties` says.)
 */
export type OnMemberDeath = 'break' | 'drop'

/** Resolved options of a barrier. */
export interface BarrierRules {
  readonly parties: number
  readonly onDeath: OnMemberDeath
}

/** The phase word, the member words and the waiter set of a barrier, as one attachment uses them. See layout.ts. */
export class BarrierWords {
  readonly region: Region
  readonly waiters: WaiterSet
  readonly #words: Int32Array
  readonly #phaseIndex: number
  readonly #firstMember: number
  readonly #rules: BarrierRules

  constructor(region: Region, byteOffset: number, rules: BarrierRules) {
    this.region = region
    this.waiters = new WaiterSet(region, byteOffset + WAITER_SET_OFFSET)
    this.#words = region.words
    this.#phaseIndex = (byteOffset + PHASE_OFFSET) >>> 2
    this.#firstMember = (byteOffset + MEMBERS_OFFSET) >>> 2
    this.#rules = rules
  }

  get state(): { phase: number; isBroken: boolean } {
    // SYNC phase ended
    const word = this.#phaseWord
    return { phase: phaseOf(word), isBroken: (word & BROKEN) !== 0 }
  }

  /** The words of all members. */
  members(): number[] {
    const words: number[] = []
    for (let slot = 0; slot < MAX_PEERS; slot++) {
      // SYNC member arrived
      const word = Atomics.load(this.#words, this.#firstMember + slot)
      if (word !== NO_MEMBER) words.push(word)
    }
    return words
  }

  /** Makes this attachment a member: first its word, then the count of joins. */
  join(): void {
    const index = this.#ownIndex()
    let phase: number
    do {
      phase = this.state.phase
      Atomics.store(this.#words, index, memberWord(this.region.peers.self, phase))
    } while (this.state.phase !== phase)
    // An agent may have found the phase complete before it could see us: its CAS fails now, and it looks again.
    for (let word = this.#phaseWord; !this.#replacePhase(word, withOneMoreJoin(word)); word = this.#phaseWord);
  }

  /**
   * Notes that this attachment has arrived at the phase. By CAS from a word that was read before the phase was: if we stop in
   * between while the barrier is broken and reset several times, our word changes, and the CAS fails.
   */
  arrive(phase: number): void {
    const index = this.#ownIndex()
    const arrived = memberWord(this.region.peers.self, followingPhase(phase))
    for (;;) {
      const member = Atomics.load(this.#words, index)
      if (this.state.phase !== phase) return
      // SYNC member arrived
      if (Atomics.compareExchange(this.#words, index, member, arrived) === member) break
    }
    this.endPhaseIfComplete()
  }

  /**
   * For a member that waits for the end of this phase: arrives once more if a reset that stalled has undone its arrival;
   * returns whether it had to.
   */
  upholdArrival(phase: number): boolean {
    if (hasArrivedAt(Atomics.load(this.#words, this.#ownIndex()), phase)) return false
    this.arrive(phase)
    return true
  }

  leave(): void {
    Atomics.store(this.#words, this.#ownIndex(), NO_MEMBER)
    this.endPhaseIfComplete()
  }

  /** Ends the phase if all members have arrived. Any agent may do so, and one of them does. */
  endPhaseIfComplete(): void {
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) !== 0) return
      const phase = phaseOf(word)
      const members = this.members()
      const isEnough = members.length >= (phase === 0 ? this.#rules.parties : 1)
      if (!isEnough || !members.every((member) => hasArrivedAt(member, phase))) return
      // SYNC phase ended
      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue
      this.waiters.notifyAll()
      return
    }
  }

  /**
   * Begins a new phase after a member's death has broken the barrier:
   *
   * 1. Read the phase word. If it is not broken, there is nothing to do, or another agent has reset it.
   * 2. The new phase is the next but one, so that members that waited for the end of the broken phase can tell that it
   *    never ended.
   * 3. For each member: remove it if it is dead, otherwise make it one that has not arrived. `next` stays that of the broken
   *    phase: resets go on by two phases modulo 8, so it does not read as arrived at any phase that comes by resets.
   * 4. Each of these is a CAS from the exact word, done only if the phase is unchanged: then no other agent has reset the
   *    barrier, and no member has arrived since. (A reset that stalls right here for eight phases undoes an arrival;
   *    `upholdArrival` repairs that.)
   * 5. Publish the new phase by CAS from the word of step 1, and wake all. If that fails (a join, another reset), go on at 1.
   */
  reset(): void {
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) === 0) return
      const phase = followingPhase(phaseOf(word), 2)
      for (const member of this.members()) {
        const peer = peerOfMember(member)
        const replacement = this.region.peers.isDead(peer) ? NO_MEMBER : memberWord(peer, phaseOf(word))
        if (this.#phaseWord === word) this.#replaceMember(member, replacement)
      }
      // SYNC phase ended
      if (!this.#replacePhase(word, withPhase(word, phase))) continue
      this.waiters.notifyAll()
      return
    }
  }

  /** Breaks the barrier for members that are proven dead, or drops them. */
  reapDead(): void {
    for (const member of this.members()) {
      if (this.region.peers.isDead(peerOfMember(member))) this.#removeDead(member)
    }
    // An agent that was about to end the phase may have been killed.
    this.endPhaseIfComplete()
  }

  sweep(deadPeer: PeerId): void {
    this.waiters.sweep(deadPeer)
    // Again if a reset, which began before the death, has rewritten the word meanwhile.
    for (;;) {
      const member = Atomics.load(this.#words, this.#firstMember + slotOf(deadPeer))
      if (peerOfMember(member) !== deadPeer) break
      this.#removeDead(member)
    }
    this.endPhaseIfComplete()
  }

  /** First the phase breaks, then the name goes: if we are killed in between, the next prover breaks the phase again. */
  #removeDead(member: number): void {
    if (this.#rules.onDeath === 'break') this.#breakFor(member)
    this.#replaceMember(member, NO_MEMBER)
  }

  #breakFor(member: number): void {
    for (;;) {
      const word = this.#phaseWord
      if ((word & BROKEN) !== 0) return
      // Another agent may have broken and reset the barrier for this member.
      if (!this.members().includes(member)) return
      // SYNC phase ended
      if (!this.#replacePhase(word, word | BROKEN)) continue
      this.waiters.notifyAll()
      return
    }
  }

  get #phaseWord(): number {
    return Atomics.load(assertOpen(this.region).words, this.#phaseIndex)
  }

  #replacePhase(word: number, replacement: number): boolean {
    return Atomics.compareExchange(this.#words, this.#phaseIndex, word, replacement) === word
  }

  #replaceMember(member: number, replacement: number): void {
    Atomics.compareExchange(this.#words, this.#firstMember + slotOf(peerOfMember(member)), member, replacement)
  }

  #ownIndex(): number {
    return this.#firstMember + slotOf(this.region.peers.self)
  }
}
