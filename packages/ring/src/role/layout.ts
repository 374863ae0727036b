/**
 * A role word: who has a role that one agent at a time can have, and how many times it has been given out.
 *
 * ```
 *  31                      9 8   7 6          0
 * +-------------------------+-----+------------+
 * |  epoch (23 bits)        |state| slot (7)   |
 * +-------------------------+-----+------------+
 * ```
 *
 * Every write is a CAS from the word that was read, so of two agents that want the role one wins. Every acquisition
 * begins a new epoch, so a word that was seen does not come back (until 2 ** 23 epochs later).
 *
 * | state  | slot            | meaning                                       | who writes it                             |
 * |--------|-----------------|-----------------------------------------------|-------------------------------------------|
 * | VACANT | 0               | no agent has had the role yet; epoch 0        | the creator (zeroed memory)               |
 * | HELD   | the holder's    | taken; if that peer is dead, free to be taken | the holder: this word is its acquisition  |
 * | CLOSED | the last holder | given back by its holder                      | the holder                                |
 * | DIED   | the dead holder | its holder is proven dead                     | the agent that has proven it: a sweep, or |
 * |        |                 |                                               | the counterpart                           |
 *
 * Its writer is killed right after: HELD: the holder had the role and is dead, as in the table. CLOSED, DIED: nothing is
 * missing. Its holder is stopped: the role stays HELD, since a peer that is only stopped is never robbed. The word needs
 * no generation: the sweep of a slot turns HELD into DIED before the slot has its next holder.
 */
export const VACANT = 0
export const HELD = 1
export const CLOSED = 2
export const DIED = 3

export type RoleState = typeof VACANT | typeof HELD | typeof CLOSED | typeof DIED

const SLOT_MASK = 0x7f
const STATE_SHIFT = 7
const EPOCH_SHIFT = 9
const EPOCH_MASK = 0x7fffff

export function roleWord(epoch: number, state: RoleState, slot: number): number {
  return (epoch << EPOCH_SHIFT) | (state << STATE_SHIFT) | slot
}

export function slotOfRole(word: number): number {
  return word & SLOT_MASK
}

export function stateOfRole(word: number): RoleState {
  return ((word >>> STATE_SHIFT) & 3) as RoleState
}

export function epochOfRole(word: number): number {
  return word >>> EPOCH_SHIFT
}

/** The epoch after this one. 0 is the epoch before the first holder. */
export function nextEpoch(epoch: number): number {
  return (epoch + 1) & EPOCH_MASK || 1
}
