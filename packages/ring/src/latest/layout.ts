import { WAITER_SET_BYTES } from '@isthmus/sync/internal'

/**
 * The latest value in memory. Words that different peers write lie 128 bytes apart, and so do the slots.
 *
 * ```
 * byte    0 +-------------+
 *           | writer role |                                         seldom written
 *       128 +-------------+
 *           | current     |                                         writer's: on every write
 *       256 +-------------+-------------- … ---+
 *           | waiter set: readers sleep here   |
 *       384 +-------------+-------------- … ---+
 *           | slots x stride                   |                    stride = 16 + byteLength, rounded up to 128
 *           +---------------------------- … ---+
 *
 * slot    0            4             8             16
 *         +------------+-------------+-------------+---- … byteLength of the layout ----+
 *         | stamp      | byte length | reserved, 0 | bytes                              |
 *         +------------+-------------+-------------+---- … -----------------------------+
 * ```
 *
 * A *version* counts the writes, as an unsigned number. Version n lies in slot n modulo `slots`. 0 means that nothing was
 * written. After 2 ** 32 - 1 comes the smallest version from 1 on whose slot is the next one (see nextVersion), so the slots
 * go round without a break.
 *
 * ```
 * write   n = nextVersion(current)
 *         V1  store stamp[n] = 0; load it                     from here on, the older value in this slot is gone
 *         V2  plain: bytes, byte length
 *         V3  store stamp[n] = n
 *         V4  store current = n                               ** here the value becomes the latest one **
 *         V5  wake the readers that sleep                     1 load if there are none
 * read    R1  c = load current; 0: nothing was written
 *         R2  load stamp[c]; it is not c: overtaken, R1
 *         R3  plain: byte length, checked; copy the bytes
 *         R4  fence (see orderReads); load stamp[c]; it is not c: overtaken, R1. It is: the copy is version c, whole
 * ```
 *
 * | word        | written by                 | read by | publishes              | its writer is killed, or stopped, right after        |
 * |-------------|----------------------------|---------|------------------------|------------------------------------------------------|
 * | writer role | see role/layout.ts         | all     | who writes the rest    | see role/layout.ts                                   |
 * | current     | the writer: V4             | all     | slot and version of    | V4: the value is the latest. Sleepers were not woken:|
 * |             |                            |         | the latest value       | they poll after one slice or tick, or when they hear |
 * |             |                            |         |                        | of the death                                         |
 * | stamp       | the writer: 0 before it    | readers | n: the bytes and the   | V1: `current` names another slot, which is whole.    |
 * |             | changes the slot, n after  |         | length before it are   | V3: the same. A successor begins at `current`, so it |
 * |             |                            |         | version n. 0: they are | writes n again, from V1 on                           |
 * |             |                            |         | being changed          |                                                      |
 * | byte length,| the writer, plainly,       | readers,| nothing by themselves  | V2: `current` names another slot, which is whole     |
 * | bytes       | between V1 and V3          | R3      |                        |                                                      |
 * | waiter set  | see sync's WaiterSet       |         |                        |                                                      |
 *
 * A reader writes nothing but its bit in the waiter set, and never waits for the writer: between two writes, wherever the
 * writer stops, `current` names a whole slot that is not the one being written. If a reader finds another stamp, `slots` - 1
 * writes or more have been made since it loaded `current`. R4 alone decides; R2 saves a copy that would be in vain. If
 * `current` is still the same then, the memory is corrupt.
 * With 2 slots, the next write may overtake it; that is why there are 4 unless the program says otherwise.
 *
 * A reader that is stopped in the midst of a copy while 2 ** 32 writes go by, and goes on in the very moment in which its
 * stamp has come round, takes a mixture for a value.
 *
 * **Order on weakly ordered machines.** The plain accesses of V2 and R3 race by design, so no rule of the language orders
 * them; these instructions do (arm64, as V8 compiles Atomics: a store is STLR, a load LDAR).
 *
 * - V1 before V2: an STLR lets later plain stores pass it. The load behind it does not: it cannot pass the store, and nothing
 *   passes it.
 * - V2 before V3, V3 before V4: an STLR waits for all earlier accesses.
 * - R1 before R2 before R3: nothing passes an LDAR.
 * - R3 before R4: an LDAR lets earlier plain loads pass it. So a reader stores a word of its own in between (`orderReads`):
 *   the store waits for the loads of R3, and the load of R4 cannot pass that store.
 *
 * x64 keeps the order of loads and the order of stores by itself, so `orderReads` does nothing there.
 */
export const WRITER_ROLE_OFFSET = 0

const SEPARATION = 128
let offset = SEPARATION
export const CURRENT_OFFSET = offset
offset += SEPARATION
export const READERS_OFFSET = offset
offset += SEPARATION
export const SLOTS_OFFSET = offset

if (WAITER_SET_BYTES > SEPARATION) throw new Error('A waiter set does not fit between two lines of the latest value')

/** Of a slot, in words from its stamp on. */
export const LENGTH_WORD = 1
export const SLOT_HEADER_BYTES = 16

export const BYTE_LENGTH_MAX = 2 ** 30
export const SLOTS_MIN = 2
export const SLOTS_MAX = 256
export const SLOTS_DEFAULT = 4
export const VERSION_MAX = 2 ** 32 - 1

export function strideOf(byteLength: number): number {
  return Math.ceil((SLOT_HEADER_BYTES + byteLength) / SEPARATION) * SEPARATION
}

/** The version after this one. 0 is skipped, and with it the versions up to the next one whose slot follows. */
export function nextVersion(version: number, slots: number): number {
  return version === VERSION_MAX ? 2 ** 32 % slots || slots : version + 1
}

/** The slot of a version, which may also be given as the signed number that stands in memory. */
export function slotOfVersion(version: number, slots: number): number {
  // Unsigned throughout: otherwise V8 divides doubles.
  return ((version >>> 0) % (slots >>> 0)) >>> 0
}
