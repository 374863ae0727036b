import {
  ABORT,
  advance,
  distance,
  FIRST,
  fitsRecord,
  kindOf,
  kindWord,
  PADDING,
  RECORD_HEADER_BYTES,
  readTotalLength,
  recordBytesOf,
} from '../record/layout.js'
import { MessageAssembly } from '../record/message-assembly.js'
import { MESSAGE_NUMBER_BYTES, MessageNumber } from '../record/message-number.js'
import { BroadcastSide } from './broadcast-side.js'
import type { BroadcastGeometry } from './geometry.js'
import {
  CHECKPOINTS,
  CHECKPOINTS_OFFSET,
  FREE,
  GATE_BYTES,
  GATE_OWNER_OFFSET,
  GATES_OFFSET,
  INTENT_OFFSET,
  NO_CHECKPOINT,
  NUMBER_BYTES,
  NUMBERS_OFFSET,
  recordsOffsetOf,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { eraAt } from './position.js'

/** Records that follow each other as a publisher writes them. */
interface Kept {
  readonly start: number
  readonly end: number
  /** Of the message after them. */
  readonly number: MessageNumber
}

/**
 * After a crash of the machine, when pages of different age may have reached the disk: makes the ring valid again. No peer
 * is attached, so all gates are free, and no subscriber has been promised anything.
 *
 * 1. A write position that is none: begin with an empty ring.
 * 2. From the oldest checkpoint on, keep the records that follow each other as a publisher writes them, up to the write position;
 *    drop the rest. If there are none, try the next checkpoint.
 * 3. If the kept records break off inside a large message, an ABORT after them says so.
 * 4. Nothing before the kept records can be read: the intent is a ring ahead of them.
 * 5. The number of the next message is the one after theirs. Without records it is the one beside the write position, or 0.
 */
export function recoverBroadcast(geometry: BroadcastGeometry): void {
  const { region, byteOffset, capacityBytes } = geometry
  const { words } = region
  const wordAt = (offset: number) => (byteOffset + offset) >>> 2
  for (let gate = 0; gate < geometry.gates; gate++) {
    words[wordAt(GATES_OFFSET + gate * GATE_BYTES + GATE_OWNER_OFFSET)] = FREE
  }
  const side = new BroadcastSide(geometry)
  const { writePosition } = side
  const isValid = writePosition.tryRead()
  const number = new MessageNumber()
  if (isValid) readNumber(side, number)
  const at = isValid ? writePosition.low : 0
  const kept = (isValid ? keepRecords(side, at) : undefined) ?? { start: at, end: at, number }
  const era = isValid ? eraAt(kept.end, writePosition.era) : 0
  const intent = advance(kept.start, capacityBytes)

  words[wordAt(INTENT_OFFSET)] = intent
  words[wordAt(INTENT_OFFSET) + 1] = eraAt(intent, era)
  for (let checkpoint = 0; checkpoint < CHECKPOINTS; checkpoint++) {
    words[wordAt(CHECKPOINTS_OFFSET) + checkpoint] = NO_CHECKPOINT
  }
  words[wordAt(CHECKPOINTS_OFFSET)] = kept.start
  for (const place of [0, 1]) {
    const word = wordAt(NUMBERS_OFFSET + place * NUMBER_BYTES)
    words.set([kept.end, kept.number.low, kept.number.high, 0], word)
  }
  words[wordAt(WRITE_POSITION_OFFSET) + 1] = era
  Atomics.store(words, wordAt(WRITE_POSITION_OFFSET), kept.end)
}

function readNumber({ nextNumber, writePosition }: BroadcastSide, number: MessageNumber): void {
  try {
    nextNumber.read(writePosition, number)
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_ISTHMUS_CORRUPT') throw error
    number.set(0, 0)
  }
}

/** Undefined if no checkpoint leads to a record. */
function keepRecords(side: BroadcastSide, writePosition: number): Kept | undefined {
  const { capacityBytes } = side.geometry
  for (let bytesMax = capacityBytes; bytesMax > 0; ) {
    const behind = side.checkpoints.furthestBehind(writePosition, bytesMax)
    if (behind <= 0) return undefined
    const start = (writePosition - behind) | 0
    const kept = keptFrom(side, start, writePosition)
    if (kept.end !== start) return kept
    bytesMax = behind - 1
  }
  return undefined
}

function keptFrom({ geometry, words }: BroadcastSide, start: number, writePosition: number): Kept {
  const { byteOffset, capacityBytes, gates, maxMessageBytes, subject } = geometry
  const recordsWord = (byteOffset + recordsOffsetOf(gates)) >>> 2
  const indexOf = (position: number) => position & (capacityBytes - 1)
  const headerWordOf = (position: number) => recordsWord + (indexOf(position) >> 2)
  const assembly = new MessageAssembly(maxMessageBytes, subject)
  const number = new MessageNumber()
  let isNumberKnown = false
  let position = start
  let lastPosition = start
  while (position !== writePosition) {
    const headerWord = headerWordOf(position)
    const storedBytes = words[headerWord]
    const kind = words[headerWord + 1]
    if (!fitsRecord(storedBytes, distance(writePosition, position), capacityBytes - indexOf(position))) break
    const isNumbered = kindOf(kind) !== PADDING && kindOf(kind) !== ABORT
    const byteLength = storedBytes - (isNumbered ? MESSAGE_NUMBER_BYTES : 0)
    if (byteLength < 0) break
    const payloadWord = headerWord + RECORD_HEADER_BYTES / 4
    if (isNumbered && !isNumberKnown) number.set(words[payloadWord], words[payloadWord + 1])
    isNumberKnown ||= isNumbered
    if (isNumbered && number.distanceTo(words[payloadWord], words[payloadWord + 1]) !== 0) break
    const total = kindOf(kind) === FIRST ? readTotalLength(words, payloadWord + MESSAGE_NUMBER_BYTES / 4) : 0
    if (!assembly.accepts(kind, byteLength, total)) break
    if (isNumbered && !assembly.isMessageOpen) number.advance()
    lastPosition = position
    position = advance(position, recordBytesOf(storedBytes))
  }
  if (!isNumberKnown) return { start, end: start, number }
  if (assembly.isMessageOpen) {
    // After a fragment 8 bytes are free. If they are not, no publisher wrote the last record: the ABORT takes its place.
    if (distance(position, start) > capacityBytes - RECORD_HEADER_BYTES) position = lastPosition
    words[headerWordOf(position)] = 0
    words[headerWordOf(position) + 1] = kindWord(ABORT, 0)
    position = advance(position, RECORD_HEADER_BYTES)
  }
  return { start, end: position, number }
}
