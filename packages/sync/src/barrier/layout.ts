import { MAX_PEERS, type PeerId } from '../peers/peer-id.js'
import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A barrier: a phase, and for each peer the phase at which it has arrived. There is no count of those who have, which a
 * killed one would leave wrong, and no last one to be killed: whoever sees that all have arrived ends the phase.
 *
 * ```
 * byte  0            4                    40                               552
 *       +------------+-------- … ---------+-------------- … ---------------+
 *       | phase word | wait set           | 128 member words               |
 *       +------------+-------- … ---------+-------------- … ---------------+
 *
 * phase word:   31             9 8       1  0       member word:  31  29 28                 0
 *              +----------------+---------+---+                  +------+--------------------+
 *              | phase (23)     | joins   | B |                  | next | peer id, 0 = none  |
 *              +----------------+---------+---+                  +------+--------------------+
 *
 * B: broken. joins: grows with every join. next: the phase at which the member has to arrive next, modulo 8. It has arrived
 * at the current phase if and only if that is the one behind it. If it has not, it is the current one, or, after a reset,
 * the one that broke.
 * ```
 *
 * | word        | written by                                      | read by  | its writer is killed right after           |
 * |-------------|-------------------------------------------------|----------|--------------------------------------------|
 * | phase word  | by CAS from exactly the word in which all had   | everyone | nothing is missing but a wake-up, see      |
 * |             | arrived: whoever sees it. B, by CAS: whoever    |          | WaiterSet. B, and the dead one still stands  |
 * |             | has proven a death; taken back by reset. joins: |          | as a member: whoever proves it next breaks |
 * |             | whoever has joined, so that no phase ends that  |          | once more                                  |
 * |             | was found complete without it                   |          |                                            |
 * | member word | the holder of that slot: when it joins, arrives | everyone | it is dead: the phase breaks, or, with     |
 * |             | and leaves. 0, by CAS from the exact word:      |          | onDeath 'drop', it is no member any more.  |
 * |             | whoever has proven its death, or a sweep.       |          | Arrived, and did not end the phase: any    |
 * |             | Not arrived, by CAS from the exact word:        |          | other member does                          |
 * |             | whoever resets a broken barrier                 |          |                                            |
 */
export const PHASE_OFFSET = 0
export const WAITER_SET_OFFSET = 4
export const MEMBERS_OFFSET = WAITER_SET_OFFSET + WAITER_SET_BYTES
export const BARRIER_BYTES = MEMBERS_OFFSET + 4 * MAX_PEERS

export const BROKEN = 1
export const NO_MEMBER = 0
const JOINS_STEP = 2
const JOINS_MASK = 0x1fe
const PHASE_SHIFT = 9
const PHASE_MAX = 0x7fffff
const NEXT_SHIFT = 29
const PEER_MASK = (1 << NEXT_SHIFT) - 1

export function phaseOf(phaseWord: number): number {
  return phaseWord >>> PHASE_SHIFT
}

/** Phase 0 comes only once: what it asks for holds for the first phase. Eight is as good a place to begin again, modulo 8. */
export function followingPhase(phase: number, steps = 1): number {
  const following = phase + steps
  return following <= PHASE_MAX ? following : following - PHASE_MAX - 1 + 8
}

/** The same joins, another phase, whole. */
export function withPhase(phaseWord: number, phase: number): number {
  return (phase << PHASE_SHIFT) | (phaseWord & JOINS_MASK)
}

export function withOneMoreJoin(phaseWord: number): number {
  return (phaseWord & ~JOINS_MASK) | ((phaseWord + JOINS_STEP) & JOINS_MASK)
}

/** The word of a member for whom `phase` is the next one to arrive at. */
export function memberWord(peer: PeerId, phase: number): number {
  return peer | (phase << NEXT_SHIFT)
}

export function peerOfMember(word: number): PeerId {
  return (word & PEER_MASK) as PeerId
}

/** Whether a member has arrived at this phase, being the current one. */
export function hasArrivedAt(word: number, phase: number): boolean {
  return word >>> NEXT_SHIFT === (followingPhase(phase) & 7)
}
