import { MAX_PEERS, type PeerId } from '../peers/peer-id.js'
import { WAITER_SET_BYTES } from '../waiting/waiter-set.js'

/**
 * A barrier: a phase, and for each peer the phase at which it has to arrive next. There is no count of arrivals, which a
 * killed member would leave wrong, and no last member that could be killed: any agent that sees that all have arrived ends
 * the phase.
 *
 * ```
 * byte  0            4                    44                               556
 *       +------------+-------- … ---------+-------------- … ---------------+
 *       | phase word | waiter set         | 128 member words               |
 *       +------------+-------- … ---------+-------------- … ---------------+
 *
 * phase word:   31             9 8       1  0       member word:  31  29 28                 0
 *              +----------------+---------+---+                  +------+--------------------+
 *              | phase (23)     | joins   | B |                  | next | peer id, 0 = none  |
 *              +----------------+---------+---+                  +------+--------------------+
 *
 * B: broken. joins: grows with every join. next: the phase at which the member has to arrive next, modulo 8. It has arrived
 * at the current phase if and only if `next` is the following one. If it has not, `next` is the current one, or, after a
 * reset, the one that broke.
 * ```
 *
 * | word        | written by                                      | read by  | its writer is killed right after           |
 * |-------------|-------------------------------------------------|----------|--------------------------------------------|
 * | phase word  | the next phase: any agent, by CAS from exactly   | everyone | no waiter was woken: they poll after one   |
 * |             | the word in which all had arrived; the next but |          | slice, or when they hear of the death      |
 * |             | one, without B: a peer that resets              |          |                                            |
 * |             | B, by CAS: a peer that has proven a death       |          | the dead member is still named: the next   |
 * |             |                                                 |          | prover, or the sweep, takes the name away  |
 * |             | joins: a peer that has joined, so that no phase |          | it is dead, and a member: see below        |
 * |             | ends that was found complete without it         |          |                                            |
 * | member word | the holder of that slot: when it joins, arrives | everyone | it is dead: the phase breaks, or, with     |
 * |             | and leaves                                      |          | onDeath 'drop', it is no member any more.  |
 * |             |                                                 |          | Arrived, and did not end the phase: any    |
 * |             |                                                 |          | other member does                          |
 * |             | 0, by CAS from the exact word: a peer that has  |          | nothing is missing                         |
 * |             | proven the member's death, or a sweep           |          |                                            |
 * |             | not arrived, by CAS from the exact word: a peer |          | the phase is still broken: another reset   |
 * |             | that resets a broken barrier                    |          | does the rest                              |
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

/** Phase 0 is special (it waits for `parties`), so the counter wraps to 8, which is the same modulo 8. */
export function followingPhase(phase: number, steps = 1): number {
  const following = phase + steps
  return following <= PHASE_MAX ? following : following - PHASE_MAX - 1 + 8
}

/** The same joins, another phase, not broken. */
export function withPhase(phaseWord: number, phase: number): number {
  return (phase << PHASE_SHIFT) | (phaseWord & JOINS_MASK)
}

export function withOneMoreJoin(phaseWord: number): number {
  return (phaseWord & ~JOINS_MASK) | ((phaseWord + JOINS_STEP) & JOINS_MASK)
}

/** The word of a member that has to arrive at `phase` next. */
export function memberWord(peer: PeerId, phase: number): number {
  return peer | (phase << NEXT_SHIFT)
}

export function peerOfMember(word: number): PeerId {
  return (word & PEER_MASK) as PeerId
}

/** Whether a member has arrived at this phase, if it is the current one. */
export function hasArrivedAt(word: number, phase: number): boolean {
  return word >>> NEXT_SHIFT === (followingPhase(phase) & 7)
}
