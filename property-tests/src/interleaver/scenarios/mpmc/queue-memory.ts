import type { PeerId } from '@isthmus/sync'
import { slotOf } from '@isthmus/sync/internal'
import {
  awayFrom,
  COUNT_WORD,
  DATA,
  DONE_WORD,
  FREE,
  HELD,
  HOLD_MASK,
  headOffsetOf,
  KIND_WORD,
  kindIn,
  LEASE_WORD,
  LENGTH_WORD,
  laneIn,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  OWNED,
  PACKED,
  PIPE,
  PIPE_BYTES_OFFSET,
  POSITION_WORD,
  PUSHABLE,
  placesOf,
  RECEIVER_DONE,
  SENDER_ABORTED,
  SENDER_GONE,
  SENDER_WORD,
  setLaneIn,
  slotOfCell,
  stateOfCell,
  tailOffsetOf,
} from '../../../../../packages/ring/src/mpmc/layout.js'
import { RECORD_HEADER_BYTES, recordBytesOf } from '../../../../../packages/ring/src/record/layout.js'
import { COMPARE_EXCHANGE, PLAIN_STORE, writesValue } from '../../operation.js'
import type { RegionWords, Step } from '../../scenario.js'
import { type QueueSize, showCell } from '../../word-names.js'

/** A lane at one moment. Positions are counted from the first one that the slots still tell of. */
interface LaneMoment {
  /** What is pushed, in order: for each position, the block, or END. */
  readonly pushed: readonly { readonly position: number; readonly block: number; readonly isTaken: boolean }[]
  readonly firstUnpushed: number
  /** The first END, or firstUnpushed. */
  readonly end: number
  readonly firstUntaken: number
}

/** The words of a queue at the start of the root, read as layout.ts explains them: apart from the code that is under test. */
export class QueueMemory {
  readonly #words: Int32Array
  readonly #start: number
  readonly #size: QueueSize
  readonly #places: ReturnType<typeof placesOf>

  constructor({ words, rootByteOffset }: RegionWords, size: QueueSize) {
    this.#words = words
    this.#start = rootByteOffset
    this.#size = size
    this.#places = placesOf(size.blocks, size.blockBytes, size.lanes, size.slots)
  }

  get end(): number {
    return this.#size.slots - 1
  }

  /** Lets all lanes begin at this position, and all blocks with cells of this seq. The queue must be unused. */
  startAt(position: number, seq: number): void {
    const { slots, lanes, blocks } = this.#size
    for (let lane = 0; lane < lanes; lane++) {
      this.#words[(this.#start + tailOffsetOf(lane)) >>> 2] = position
      this.#words[(this.#start + headOffsetOf(lane)) >>> 2] = position
      for (let step = 0; step < slots; step++) {
        const free = (position + step) | 0
        this.#words[this.#slotIndex(lane, free)] = free & -slots
      }
    }
    for (let block = 0; block < blocks; block++) {
      this.#words[this.#cellIndex(block)] = (seq << 9) | FREE
      this.#words[this.#cellIndex(block) + POSITION_WORD] = awayFrom(position)
    }
  }

  /** Leaves a block as a sender of a lane does that finds out at P3 that the lane has ended: with a position, and free. */
  leaveUnpushed(block: number, lane: number, position: number): void {
    this.#words[this.#cellIndex(block) + KIND_WORD] = setLaneIn(DATA, lane)
    this.#words[this.#cellIndex(block) + POSITION_WORD] = position
  }

  cell(block: number): number {
    return this.#words[this.#cellIndex(block)]
  }

  /** The first byte of each message that was sent and not received, in order. */
  messages(lane = 0): number[] {
    const moment = this.#momentOf(lane)
    if (typeof moment === 'string') return []
    return moment.pushed
      .filter(({ block, isTaken }) => block !== this.end && !isTaken)
      .flatMap(({ block }) => this.#messagesIn(block))
  }

  allMessages(): number[] {
    return Array.from({ length: this.#size.lanes }, (_, lane) => this.messages(lane)).flat()
  }

  /** The word `note` behind the queue. */
  note(note: number): number {
    return this.#words[((this.#start + this.#places.byteLength) >>> 2) + note]
  }

  /** The blocks that are neither free nor in a lane. */
  strays(): string[] {
    const queued = new Set<number>()
    for (let lane = 0; lane < this.#size.lanes; lane++) {
      const moment = this.#momentOf(lane)
      if (typeof moment === 'string') continue
      for (const { block, isTaken } of moment.pushed) if (!isTaken) queued.add(block)
    }
    return Array.from({ length: this.#size.blocks }, (_, block) => block)
      .filter((block) => !queued.has(block) && (this.cell(block) & HOLD_MASK) !== FREE)
      .map((block) => `block ${block}: ${showCell(this.cell(block))}`)
  }

  /** The messages of blocks whose holders have died, and that no peer has brought back yet. */
  orphans(): number[] {
    return Array.from({ length: this.#size.blocks }, (_, block) => block)
      .filter((block) => (this.cell(block) & HOLD_MASK) === ORPHAN)
      .flatMap((block) => this.#messagesIn(block))
  }

  /** Whether the next peer that finds nothing looks for orphans. */
  get isLookDue(): boolean {
    return (
      this.#words[(this.#start + ORPHANS_LEFT_OFFSET) >>> 2] !== this.#words[(this.#start + ORPHANS_SEEN_OFFSET) >>> 2]
    )
  }

  hasEnded(lane = 0): boolean {
    const moment = this.#momentOf(lane)
    return typeof moment !== 'string' && moment.end !== moment.firstUnpushed
  }

  /** What layout.ts promises at every moment, as five invariants. */
  wrongMoment(): string | undefined {
    const queued = new Map<number, string>()
    for (let lane = 0; lane < this.#size.lanes; lane++) {
      const moment = this.#momentOf(lane)
      if (typeof moment === 'string') return `lane ${lane}: ${moment}`
      const wrong = this.#wrongIn(lane, moment, queued)
      if (wrong !== undefined) return `lane ${lane}: ${wrong}`
    }
    return undefined
  }

  /** What the three steps that matter must have found, and that a block is written only by the peer that has it. */
  wrongStep({ peer, kind, word, expected, result }: Step): string | undefined {
    if (peer === 0 || !writesValue(kind)) return undefined
    if (kind === COMPARE_EXCHANGE && result !== expected) return undefined
    const block = this.#blockOf(word)
    if (block === undefined) return kind === COMPARE_EXCHANGE ? this.#wrongPush(word, peer, expected) : undefined
    const at = word - this.#cellIndex(block)
    if (kind === PLAIN_STORE) {
      const cell = this.cell(block)
      if (stateOfCell(cell) !== 0 && slotOfCell(cell) === slotOf(peer)) return undefined
      return `4: slot ${slotOf(peer)} writes word ${at} of block ${block}, which is ${showCell(cell)}`
    }
    if (at !== 0) return this.#wrongWriteThrough(block, at, peer, result)
    return this.#wrongTakeBack(block, peer, expected) ?? this.#wrongTake(block, peer, expected)
  }

  #momentOf(lane: number): LaneMoment | string {
    const { slots } = this.#size
    // Of each slot: the position that it is free for, or that it will be free for next.
    const next = (position: number): number => {
      return (this.#words[this.#slotIndex(lane, position)] & -slots) | (position & (slots - 1))
    }
    let firstUnpushed = next(0)
    for (let step = 0; step < slots && next(firstUnpushed - 1) === ((firstUnpushed - 1) | 0); step++) {
      firstUnpushed = (firstUnpushed - 1) | 0
    }
    for (let step = 0; step < slots; step++) {
      const position = (firstUnpushed + step) | 0
      if (next(position) !== position) {
        return `1: the slot of position ${position} is for ${next(position)}, and the one of ${firstUnpushed} is free`
      }
    }
    const pushed: { position: number; block: number; isTaken: boolean }[] = []
    let firstUntaken: number | undefined
    let end: number | undefined
    for (let step = -slots; step < 0; step++) {
      const position = (firstUnpushed + step) | 0
      const block = this.#words[this.#slotIndex(lane, position)] & (slots - 1)
      const isTaken = block === this.end ? false : !this.#isThere(block, position, lane)
      pushed.push({ position, block, isTaken })
      if (!isTaken) firstUntaken ??= position
      if (block === this.end) end ??= position
    }
    return { pushed, firstUnpushed, end: end ?? firstUnpushed, firstUntaken: firstUntaken ?? firstUnpushed }
  }

  #isThere(block: number, position: number, lane: number): boolean {
    const cell = this.#cellIndex(block)
    return (
      block < this.#size.blocks &&
      (this.#words[cell] & PUSHABLE) !== 0 &&
      this.#words[cell + POSITION_WORD] === position &&
      laneIn(this.#words[cell + KIND_WORD]) === lane
    )
  }

  #wrongIn(lane: number, moment: LaneMoment, queued: Map<number, string>): string | undefined {
    const { pushed, firstUnpushed, end, firstUntaken } = moment
    let isUntaken = false
    let hasEnded = false
    for (const { position, block, isTaken } of pushed) {
      if (block >= this.#size.blocks && block !== this.end) return `1: position ${position} names block ${block}`
      if (hasEnded && block !== this.end) return `1: position ${position} is pushed behind END`
      hasEnded ||= block === this.end
      if (isUntaken && isTaken) return `2: position ${position} is taken, and one before it is not`
      isUntaken ||= !isTaken
      if (isTaken || block === this.end) continue
      const other = queued.get(block)
      if (other !== undefined) return `3: block ${block} is at position ${position} and at ${other}`
      queued.set(block, `${position} of lane ${lane}`)
    }
    const tail = this.#words[(this.#start + tailOffsetOf(lane)) >>> 2]
    const head = this.#words[(this.#start + headOffsetOf(lane)) >>> 2]
    if (((tail - end) | 0) > 0) return `5: the tail hint is ${tail}, and ${end} is not pushed`
    if (((head - firstUntaken) | 0) > 0) return `5: the head hint is ${head}, and ${firstUntaken} is not taken`
    if (((firstUntaken - firstUnpushed) | 0) > 0) return `5: ${firstUntaken} is taken, and ${firstUnpushed} not pushed`
    return undefined
  }

  /** A slot was changed. If it names a block now, that must be as far as a receiver needs it. */
  #wrongPush(word: number, peer: PeerId, before: number): string | undefined {
    const { slots, lanes } = this.#size
    const index = word - this.#slotIndex(0, 0)
    if (index < 0 || index >= slots * lanes) return undefined
    // An END that is taken back.
    if ((((this.#words[word] & -slots) - (before & -slots)) | 0) < 0) return undefined
    const block = this.#words[word] & (slots - 1)
    if (block >= this.#size.blocks) return undefined
    const lane = Math.floor(index / slots)
    const position = ((this.#words[word] & -slots) - slots) | (index % slots)
    const cell = this.cell(block)
    if (this.#isThere(block, position, lane) && slotOfCell(cell) === slotOf(peer)) return undefined
    return `3: slot ${slotOf(peer)} pushes block ${block} at position ${position}, and it is ${showCell(cell)}`
  }

  /** A word of a pipe was changed through Atomics: by the peer that has its block, or by its sender, as long as that is not gone. */
  #wrongWriteThrough(block: number, at: number, peer: PeerId, before: number): string | undefined {
    const cell = this.cell(block)
    if (stateOfCell(cell) !== 0 && slotOfCell(cell) === slotOf(peer)) return undefined
    const header = this.#cellIndex(block)
    const lease = at === LEASE_WORD ? before : this.#words[header + LEASE_WORD]
    const isPipe = kindIn(this.#words[header + KIND_WORD]) === PIPE && (cell & HOLD_MASK) !== FREE
    if (isPipe && this.#words[header + SENDER_WORD] === peer && (lease & SENDER_GONE) === 0) return undefined
    return `6: slot ${slotOf(peer)} writes word ${at} of block ${block}, which is ${showCell(cell)}`
  }

  /** A cell was changed. If a sender has taken its pipe back to send the message again, the message was not acknowledged. */
  #wrongTakeBack(block: number, peer: PeerId, before: number): string | undefined {
    const header = this.#cellIndex(block)
    if ((before & HOLD_MASK) !== ORPHAN || kindIn(this.#words[header + KIND_WORD]) !== PIPE) return undefined
    const lease = this.#words[header + LEASE_WORD]
    const isSender = this.#words[header + SENDER_WORD] === peer && (lease & SENDER_GONE) === 0
    return isSender && (lease & RECEIVER_DONE) !== 0
      ? `7: a sender takes back what its receiver has acknowledged`
      : undefined
  }

  /** A cell was changed. If it was taken from the queue, it must have been the first message of its lane. */
  #wrongTake(block: number, peer: PeerId, before: number): string | undefined {
    const cell = this.cell(block)
    const isTake = stateOfCell(cell) === HELD && (before & PUSHABLE) !== 0
    const isOwn = stateOfCell(before) === OWNED && slotOfCell(before) === slotOf(peer)
    if (!isTake || isOwn) return undefined
    const header = this.#cellIndex(block)
    const position = this.#words[header + POSITION_WORD]
    const lane = laneIn(this.#words[header + KIND_WORD])
    if (lane >= this.#size.lanes) return `3: block ${block} of lane ${lane} is taken`
    const { slots } = this.#size
    const isPushed = this.#words[this.#slotIndex(lane, position)] === (((position + slots) & -slots) | block)
    if (!isPushed)
      return `3: slot ${slotOf(peer)} takes block ${block}, which is not pushed: it was ${showCell(before)}`
    return undefined
  }

  #blockOf(word: number): number | undefined {
    const { blocksOffset, strideBytes } = this.#places
    const offset = word * 4 - this.#start - blocksOffset
    const block = Math.floor(offset / strideBytes)
    return block >= 0 && block < this.#size.blocks ? block : undefined
  }

  #messagesIn(block: number): number[] {
    const header = this.#cellIndex(block)
    const payload = (header + 8) * 4
    const bytes = new Uint8Array(this.#words.buffer, this.#words.byteOffset)
    if (kindIn(this.#words[header + KIND_WORD]) === PIPE) {
      return (this.#words[header + LEASE_WORD] & SENDER_ABORTED) === 0 ? [bytes[header * 4 + PIPE_BYTES_OFFSET]] : []
    }
    if (kindIn(this.#words[header + KIND_WORD]) !== PACKED) return [bytes[payload]]
    const messages: number[] = []
    const end = payload + this.#words[header + LENGTH_WORD]
    for (let at = payload; at < end; at += recordBytesOf(this.#words[at >>> 2])) {
      messages.push(bytes[at + RECORD_HEADER_BYTES])
    }
    return messages.slice(this.#words[header + DONE_WORD], this.#words[header + COUNT_WORD])
  }

  #slotIndex(lane: number, position: number): number {
    const { slots } = this.#size
    return (this.#start + this.#places.slotsOffset + (lane * slots + (position & (slots - 1))) * 4) >>> 2
  }

  #cellIndex(block: number): number {
    return (this.#start + this.#places.blocksOffset + block * this.#places.strideBytes) >>> 2
  }
}
