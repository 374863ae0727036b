import { Segment } from '@isthmus/shm-posix'
import { struct, u32 } from '@isthmus/sync'
import type { Place } from './place.js'

const PARTICIPANTS = 2
const TIMEOUT_MS = 30_000
const LOOKS_BETWEEN_CLOCKS = 1024

const layout = struct({ arrivals: u32(), messages: u32(), isTimed: u32() })

/** What both sides do next. */
export interface Transfer {
  readonly messages: number
  readonly isTimed: boolean
}

/**
 * Where the two sides of a run meet: both go on within nanoseconds of each other. A waiting side spins, since a sleep
 * would make one of them late.
 */
export class Meeting {
  readonly #segment: ReturnType<typeof openSegment>

  static create(place: Place): void {
    Segment.create(nameIn(place), layout).close()
  }

  constructor(place: Place) {
    this.#segment = openSegment(place)
  }

  /** Blocks the thread until the other side is there too. */
  meet(): void {
    const { arrivals } = this.#segment.root
    const meeting = Math.floor(arrivals.add(1) / PARTICIPANTS)
    const deadlineMs = performance.now() + TIMEOUT_MS
    for (let look = 1; Math.floor(arrivals.value / PARTICIPANTS) === meeting; look++) {
      const isLate = look % LOOKS_BETWEEN_CLOCKS === 0 && performance.now() > deadlineMs
      if (isLate) throw new Error(`Meeting the other side: it has not come for ${TIMEOUT_MS} ms`)
    }
  }

  /** For one side, before a meeting: says what comes behind it. */
  announce({ messages, isTimed }: Transfer): void {
    this.#segment.root.messages.value = messages
    this.#segment.root.isTimed.value = Number(isTimed)
  }

  /** To be read between the meeting and the next one. */
  get announced(): Transfer {
    const { messages, isTimed } = this.#segment.root
    return { messages: messages.value, isTimed: isTimed.value === 1 }
  }

  close(): void {
    this.#segment.close()
  }
}

function openSegment(place: Place) {
  return Segment.open(nameIn(place), layout)
}

function nameIn({ segmentPrefix }: Place): string {
  return `${segmentPrefix}meeting`
}
