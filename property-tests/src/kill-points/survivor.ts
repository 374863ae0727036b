import { Segment } from '@isthmus/shm-posix'
import type { Layout, PeerDescription } from '@isthmus/sync'
import { type Board, nap } from './board.js'
import type { Scenario } from './scenario.js'

const PATIENCE_MS = 3_000

/** What the functions of a scenario use in the process that lives on. */
export class Survivor<T> {
  /** The segment's name. */
  readonly name: string
  readonly #layout: Layout<T>
  readonly #board: Board
  readonly #segments: Segment<T>[] = []

  constructor(name: string, definition: Scenario<T>, board: Board) {
    this.name = name
    this.#layout = definition.layout
    this.#board = board
    if (definition.isWithoutSegment !== true) this.#segments.push(Segment.create(name, definition.layout))
  }

  /** The survivor's first attachment. */
  get segment(): Segment<T> {
    const [first] = this.#segments
    if (first === undefined) throw new Error('This survivor has no segment')
    return first
  }

  get root(): T {
    return this.segment.root
  }

  /** How many other processes of this run have died. */
  get deaths(): number {
    return this.#board.read('burialsDone') + this.#board.read('victimDead')
  }

  /** Attaches once more. A newcomer sweeps the slot that it takes. */
  newcomer(): Segment<T> {
    const segment = Segment.open(this.name, this.#layout)
    this.#segments.push(segment)
    return segment
  }

  /** The peers that are not attachments of this process. */
  strangers(): PeerDescription[] {
    return this.segment.peers.list().filter(({ pid }) => pid !== process.pid)
  }

  /** Lets a predecessor run and die. No peer notices the death. */
  bury(): void {
    this.#board.raise('burialsWanted')
    this.#board.await('burialsDone', this.#board.read('burialsWanted'), PATIENCE_MS)
  }

  /** Whether the victim is neither dead nor stopped. */
  get isVictimAtWork(): boolean {
    const board = this.#board
    if (board.read('victimDead') > 0) return false
    return board.read('victimHalted') === 0 || board.read('continuationWanted') > 0
  }

  /** Blocks until the condition is true, or the victim is dead or stopped. Returns whether the condition is true. */
  readonly untilVictim = (isTrue: () => boolean): boolean => {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      if (isTrue()) return true
      if (!this.isVictimAtWork) return isTrue()
      if (performance.now() > deadline)
        throw new Error('What the survivor waits for did not come true, and the victim goes on')
      nap()
    }
  }

  /** The same as a promise. */
  readonly untilVictimAwaiting = async (isTrue: () => boolean): Promise<boolean> => {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      if (isTrue()) return true
      if (!this.isVictimAtWork) return isTrue()
      if (performance.now() > deadline)
        throw new Error('What the survivor waits for did not come true, and the victim goes on')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  close(): void {
    for (const segment of this.#segments) if (!segment.isClosed) segment.close()
  }
}
