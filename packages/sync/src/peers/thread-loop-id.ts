import { randomWord } from '../waiting/host.js'
import type { LoopId } from './peers.js'

const KEY = Symbol.for('isthmus.thread-loop-id@1')
const shared = globalThis as { [KEY]?: LoopId }

/**
 * Names this thread in the slots of heap regions, the same for every copy of this package in it: a thread that is about to
 * block finds out whether it would wait for itself. (On a segment the names of the thread's FIFOs do that.)
 */
export const threadLoopId: LoopId = shared[KEY] ?? [randomWord(), randomWord() || 1]
shared[KEY] = threadLoopId
