import { Segment } from '@isthmus/shm-posix'
import { f64, struct, u32 } from '@isthmus/sync'
import type { Role } from './assignment.js'
import type { Build } from './build.js'
import { yieldCore } from './libc.js'
import type { Place } from './place.js'

const TIMEOUT_MS = 30_000
const LOOKS_BETWEEN_YIELDS = 1024

const layoutOf = ({ struct, u32, f64 }: Pick<Build['sync'], 'struct' | 'u32' | 'f64'>) => {
  return struct({ arrivals: u32(), messages: u32(), isTimed: u32(), note: f64() })
}
const layout = layoutOf({ struct, u32, f64 })

/** What both sides do next. */
export interface Transfer {
  readonly messages: number
  readonly isTimed: boolean
}

/**
 * The barrier of a run's sides: all go on within nanoseconds of each other. A waiting side spins, since a sleep would
 * make it late; it yields its core to threads that are ready to run, the other sides among them.
 */
export class Meeting {
  readonly #segment: ReturnType<typeof openSegment>
  readonly #participants: number

  static create(place: Place, { shmPosix, sync }: Build): void {
    shmPosix.Segment.create(nameIn(place), layoutOf(sync)).close()
  }

  constructor(place: Place, participants = 2) {
    this.#segment = openSegment(place)
    this.#participants = participants
  }

  /** Blocks the thread until the other sides are there too. */
  meet(): void {
    const { arrivals } = this.#segment.root
    const meeting = Math.floor(arrivals.add(1) / this.#participants)
    const deadlineMs = performance.now() + TIMEOUT_MS
    for (let look = 1; Math.floor(arrivals.value / this.#participants) === meeting; look++) {
      if (look % LOOKS_BETWEEN_YIELDS !== 0) continue
      yieldCore()
      if (performance.now() > deadlineMs)
        throw new Error(`Meeting the other sides: one has not come for ${TIMEOUT_MS} ms`)
    }
  }

  /** Opens a side: the first one is open before the others open. */
  async openInTurn<T>(role: Role, open: () => T | Promise<T>): Promise<T> {
    if (role === 'second') this.meet()
    const opened = await open()
    if (role === 'first') this.meet()
    return opened
  }

  /** Called by one side before a meeting: announces what both do after it. */
  announce({ messages, isTimed }: Transfer): void {
    this.#segment.root.messages.value = messages
    this.#segment.root.isTimed.value = Number(isTimed)
  }

  /** What was announced; valid between that meeting and the next one. */
  get announced(): Transfer {
    const { messages, isTimed } = this.#segment.root
    return { messages: messages.value, isTimed: isTimed.value === 1 }
  }

  /** A number that one side tells the other. */
  get note(): number {
    return this.#segment.root.note.value
  }

  set note(value: number) {
    this.#segment.root.note.value = value
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
