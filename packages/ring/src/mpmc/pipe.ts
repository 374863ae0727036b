import { assertRoomToCompile, assertStackRoom, EventCount } from '@isthmus/sync/internal'
import { readTotalLength } from '../record/layout.js'
import {
  LEASE_WORD,
  PIPE_BYTES_OFFSET,
  PIPE_LENGTH_OFFSET,
  PIPE_READ_OFFSET,
  PIPE_RECEIVER_EVENTS_OFFSET,
  PIPE_SENDER_EVENTS_OFFSET,
  PIPE_WRITE_OFFSET,
  pipeCapacityOf,
} from './layout.js'
import type { QueueSide } from './queue-side.js'

/** What is copied in one go, at most: it stays in the caches, and both sides work at the same time. */
const STEP_BYTES_MAX = 64 * 1024
/** What one call copies, at most: then clocks and event loops have their turn. */
export const CALL_BYTES_MAX = 1024 * 1024

/** In so many calls of a thread, functions may run for the first time, and then have to be compiled. */
const COLD_CALLS = 1000
let coldCallsLeft = COLD_CALLS

/** Throws the RangeError of a full stack here, before a call has begun that must not break off half-way. */
export function assertRoomForPipe(): void {
  if (coldCallsLeft > 0) {
    assertRoomToCompile()
    // One that found no room has compiled nothing.
    coldCallsLeft--
  } else {
    assertStackRoom()
  }
}

/** The words of a pipe, as both of its sides use them. */
export class Pipe {
  readonly side: QueueSide
  readonly block: number
  /** Where the cell is, in `side.words`. */
  readonly cellWord: number
  readonly leaseWord: number
  readonly writeWord: number
  readonly readWord: number
  /** Where the bytes begin, in `side.bytes`. */
  readonly bytesOffset: number
  readonly capacityBytes: number
  /** What is copied in one go, at most. */
  readonly stepBytes: number
  readonly receiverEvents: EventCount
  readonly senderEvents: EventCount

  constructor(side: QueueSide, block: number) {
    const cellWord = side.cellWordOf(block)
    const byteOffset = cellWord * 4
    this.side = side
    this.block = block
    this.cellWord = cellWord
    this.leaseWord = cellWord + LEASE_WORD
    this.writeWord = (byteOffset + PIPE_WRITE_OFFSET) >>> 2
    this.readWord = (byteOffset + PIPE_READ_OFFSET) >>> 2
    this.bytesOffset = byteOffset + PIPE_BYTES_OFFSET
    this.capacityBytes = pipeCapacityOf(side.geometry.blockBytes)
    this.stepBytes = Math.min(STEP_BYTES_MAX, this.capacityBytes >> 2)
    this.receiverEvents = new EventCount(side.region, byteOffset + PIPE_RECEIVER_EVENTS_OFFSET)
    this.senderEvents = new EventCount(side.region, byteOffset + PIPE_SENDER_EVENTS_OFFSET)
  }

  get cell(): number {
    return Atomics.load(this.side.words, this.cellWord)
  }

  get lease(): number {
    // SYNC side of a pipe is done: what it stored before
    return Atomics.load(this.side.words, this.leaseWord)
  }

  /** Adds marks to the lease. Returns what it was before. */
  mark(marks: number): number {
    // SYNC side of a pipe is done: what it stored before
    return Atomics.or(this.side.words, this.leaseWord, marks)
  }

  /** The length of the whole message. It can be anything. */
  get messageByteLength(): number {
    return readTotalLength(this.side.words, (this.cellWord * 4 + PIPE_LENGTH_OFFSET) >>> 2)
  }
}

/** Wakes the other side of a pipe. At the edge of the stack that fails; then the other side polls by itself after a while. */
export function notifySafely(events: EventCount): void {
  try {
    events.notify()
  } catch {
    // See above. It cannot be made up for later: the block may be another message by then.
  }
}
