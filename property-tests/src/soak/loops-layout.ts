import { spscRing } from '@isthmus/ring'
import { mutex, semaphore, struct, words } from '@isthmus/sync'
import { ROLES_MAX } from './field.js'
import { ledgerWordsFor } from './rings/ring-ledger.js'

export const LOOP_ROLES = 5
export const LOOP_PERMITS = 1
export const LOOP_CAPACITIES_BYTES = [512, 4096]

/** Guarded by the mutex: how many steps all roles have taken; after it a word for each role, written later. */
export const LOOP_COUNT = ledgerWordsFor(LOOP_CAPACITIES_BYTES.length)
export const LOOP_STEPS = LOOP_COUNT + 1
export const LOOP_LEDGER_WORDS = LOOP_STEPS + ROLES_MAX

export const loopsLayout = struct({
  ledger: words(LOOP_LEDGER_WORDS),
  small: spscRing({ capacityBytes: LOOP_CAPACITIES_BYTES[0] }),
  large: spscRing({ capacityBytes: LOOP_CAPACITIES_BYTES[1] }),
  lock: mutex(),
  permits: semaphore({ permits: LOOP_PERMITS }),
})
export type LoopsRoot = ReturnType<typeof loopsLayout.attach>

/** What a program of the field "loops" gets, as its one argument. */
export interface LoopTask {
  readonly name: string
  readonly role: number
  readonly incarnation: number
  readonly seed: number
}
