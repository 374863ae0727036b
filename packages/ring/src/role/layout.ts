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
 * Written by CAS only, from exactly the word that was read, so of two that want the role one wins. Every acquisition has
 * an epoch of its own, so a word that was seen never comes back.
 *
 * | state  | slot            | meaning                                       | who writes it                             |
 * |--------|-----------------|-----------------------------------------------|-------------------------------------------|
 * | VACANT | 0               | nobody has had the role yet; epoch 0          | the creator (zeroed memory)               |
 * | HELD   | the holder's    | taken; if that peer is dead, free to be taken | the holder: this word is its acquisition  |
 * | CLOSED | the last holder | given back in good order                      | the holder                                |
 * | DIED   | the dead holder | its holder is proven dead                     | whoever has proven it: a sweep, or the    |
 * |        |                 |                                               | counterpart                               |
 *
 * Killed right after the store: HELD: the holder had the role and is dead, as in the table. CLOSED, DIED: nothing is
 * missing. The word needs no generation: a slot is swept, which turns HELD into DIED, before it has its next holder.
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

/** The epoch after this one. 0 is the one in which nobody had the role yet. */
export function nextEpoch(epoch: number): number {
  return (epoch + 1) & EPOCH_MASK || 1
}
