import type { PeerId } from '@isthmus/sync'
import { MAX_PEERS, slotOf } from '@isthmus/sync/internal'
import {
  ACTIVE,
  WRITE_POSITION_OFFSET as BROADCAST_WRITE_OFFSET,
  CHECKPOINTS,
  CHECKPOINTS_OFFSET,
  DATA_OFFSET,
  DEMOTED,
  GATE_BYTES,
  GATE_CURSOR_OFFSET,
  GATES_OFFSET,
  INTENT_OFFSET,
  JOINING,
  NUMBER_BYTES,
  NUMBERS_OFFSET,
  PUBLISHER_ROLE_OFFSET,
  peerOfGate,
  recordsOffsetOf,
  SPACE_EVENTS_OFFSET,
  stateOfGate,
} from '../../../packages/ring/src/broadcast/layout.js'
import {
  CURRENT_OFFSET,
  LENGTH_WORD,
  READERS_OFFSET,
  SLOT_HEADER_BYTES,
  SLOTS_OFFSET,
  strideOf,
  WRITER_ROLE_OFFSET,
} from '../../../packages/ring/src/latest/layout.js'
import {
  COUNT_WORD,
  DEAD_LETTERS_OFFSET,
  DONE_WORD,
  FREE as FREE_CELL,
  GIVEN_UP_OFFSET,
  HOLD_MASK,
  headOffsetOf,
  KIND_WORD,
  LOST_OFFSET,
  MESSAGES_OFFSET,
  ORPHAN,
  ORPHANS_LEFT_OFFSET,
  ORPHANS_SEEN_OFFSET,
  LEASE_WORD as PIPE_LEASE_WORD,
  PIPE_READ_OFFSET,
  PIPE_RECEIVER_EVENTS_OFFSET,
  PIPE_SENDER_EVENTS_OFFSET,
  PIPE_WRITE_OFFSET,
  POSITION_WORD,
  placesOf,
  RECEIVER_DONE,
  RECEIVER_LEFT,
  SENDER_ABORTED,
  SENDER_GONE,
  SENDER_WORD,
  SPACE_OFFSET,
  slotOfCell,
  stateOfCell,
  tailOffsetOf,
} from '../../../packages/ring/src/mpmc/layout.js'
import { epochOfRole, slotOfRole, stateOfRole } from '../../../packages/ring/src/role/layout.js'
import {
  CONSUMER_EVENTS_OFFSET,
  CONSUMER_ROLE_OFFSET,
  PRODUCER_EVENTS_OFFSET,
  PRODUCER_ROLE_OFFSET,
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  REPORTED_EPOCH_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../../packages/ring/src/spsc/layout.js'
import { PEERS_BYTE_OFFSET } from '../../../packages/sync/src/attachment/header.js'
import {
  WAITER_SET_OFFSET as BARRIER_WAITER_SET_OFFSET,
  BROKEN,
  MEMBERS_OFFSET,
  NO_MEMBER,
  PHASE_OFFSET,
  peerOfMember,
  phaseOf,
} from '../../../packages/sync/src/barrier/layout.js'
import {
  ABANDONED,
  CONTENDED,
  INCONSISTENT,
  WAITER_SET_OFFSET as MUTEX_WAIT_SET_OFFSET,
  OWNER_WORD_OFFSET,
  ownerOf,
} from '../../../packages/sync/src/mutex/layout.js'
import {
  generationOfSlotWord,
  HINT_WORDS,
  HINTS_WORD,
  LEASE_WORD,
  PEER_SLOT_BYTES,
  PID_WORD,
  STATE_WORD,
  stateOfSlotWord,
  THREAD_ID_WORD,
  WAKE_WORD,
} from '../../../packages/sync/src/peers/layout.js'
import {
  DRAINED_OFFSET,
  KNOWN_OFFSET,
  MUTEX_OFFSET,
  READER_WORDS_OFFSET,
  READERS_WAITER_SET_OFFSET,
} from '../../../packages/sync/src/rw-lock/layout.js'
import {
  CELLS_OFFSET,
  WAITER_SET_OFFSET as SEMAPHORE_WAIT_SET_OFFSET,
} from '../../../packages/sync/src/semaphore/layout.js'
import { AGENT_SLOTS, type RegionWords, type Scenario, type WordName } from './scenario.js'

const ROLE_STATES = ['VACANT', 'HELD', 'CLOSED', 'DIED']
const SLOT_STATES = ['FREE', 'LIVE', 'DEAD']

function showRole(word: number): string {
  return `${ROLE_STATES[stateOfRole(word)]} (epoch ${epochOfRole(word)}, slot ${slotOfRole(word)})`
}

function showSlotState(word: number): string {
  return `${SLOT_STATES[stateOfSlotWord(word)]} (generation ${generationOfSlotWord(word)})`
}

/** The words of an event count in a layout. */
export function eventCountNames(name: string, byteOffset: number): WordName[] {
  return [
    { byteOffset, name: `${name}.sleeper` },
    { byteOffset: byteOffset + 4, name: `${name}.sequence` },
  ]
}

/** The names of a structure's words, and the quiet words: those of unused slots, which no agent writes. */
export interface Names {
  readonly wordNames: readonly WordName[]
  readonly quietBytes: readonly (readonly [from: number, to: number])[]
}

export function allOf(...names: readonly Names[]): Names {
  return {
    wordNames: names.flatMap(({ wordNames }) => wordNames),
    quietBytes: names.flatMap(({ quietBytes }) => quietBytes),
  }
}

export function plainName(name: string, byteOffset: number): Names {
  return { wordNames: [{ byteOffset, name }], quietBytes: [] }
}

/** The words of a waiter set. Only the first word of each bitmap has slots in use. */
export function waiterSetNames(name: string, byteOffset: number): Names {
  const at = (word: number): number => byteOffset + 4 * word
  return {
    wordNames: [
      { byteOffset, name: `${name}.sequence` },
      { byteOffset: at(1), name: `${name}.waiting`, show: showBits },
      { byteOffset: at(5), name: `${name}.awaiting`, show: showBits },
      { byteOffset: at(9), name: `${name}.registrations`, show: showRegistrations },
    ],
    quietBytes: [
      [at(2), at(5)],
      [at(6), at(9)],
    ],
  }
}

export function mutexNames(name: string, byteOffset: number): Names {
  const owner = { byteOffset: byteOffset + OWNER_WORD_OFFSET, name: `${name}.owner`, show: showOwner }
  const waiters = waiterSetNames(`${name}.waiters`, byteOffset + MUTEX_WAIT_SET_OFFSET)
  return allOf({ wordNames: [owner], quietBytes: [] }, waiters)
}

export function semaphoreNames(name: string, byteOffset: number, permits: number): Names {
  const wordNames = Array.from({ length: permits }, (_, cell): WordName => {
    return { byteOffset: byteOffset + CELLS_OFFSET + 4 * cell, name: `${name}.cells[${cell}]`, show: showPeer }
  })
  return allOf({ wordNames, quietBytes: [] }, waiterSetNames(`${name}.waiters`, byteOffset + SEMAPHORE_WAIT_SET_OFFSET))
}

export function rwLockNames(name: string, byteOffset: number): Names {
  const known = byteOffset + KNOWN_OFFSET
  const readers = byteOffset + READER_WORDS_OFFSET
  return allOf(
    mutexNames(`${name}.writers`, byteOffset + MUTEX_OFFSET),
    { wordNames: eventCountNames(`${name}.drained`, byteOffset + DRAINED_OFFSET), quietBytes: [] },
    waiterSetNames(`${name}.readers`, byteOffset + READERS_WAITER_SET_OFFSET),
    {
      wordNames: [
        { byteOffset: known, name: `${name}.known`, show: showBits },
        ...slotNames(`${name}.reader`, readers, showPeer),
      ],
      quietBytes: [[known + 4, readers], quietSlots(readers)],
    },
  )
}

export function barrierNames(name: string, byteOffset: number): Names {
  const members = byteOffset + MEMBERS_OFFSET
  return allOf(
    {
      wordNames: [
        { byteOffset: byteOffset + PHASE_OFFSET, name: `${name}.phase`, show: showPhase },
        ...slotNames(`${name}.member`, members, showMember),
      ],
      quietBytes: [quietSlots(members)],
    },
    waiterSetNames(`${name}.waiters`, byteOffset + BARRIER_WAITER_SET_OFFSET),
  )
}

function slotNames(name: string, byteOffset: number, show: (value: number) => string): WordName[] {
  return Array.from({ length: AGENT_SLOTS }, (_, slot) => ({
    byteOffset: byteOffset + 4 * slot,
    name: `${name}[${slot}]`,
    show,
  }))
}

/** The unused slots of an array with one word for each slot. */
function quietSlots(byteOffset: number): readonly [from: number, to: number] {
  return [byteOffset + 4 * AGENT_SLOTS, byteOffset + 4 * MAX_PEERS]
}

function showBits(word: number): string {
  return `0b${(word >>> 0).toString(2)}`
}

function showRegistrations(word: number): string {
  return `${word >>> 1}${word & 1 ? ', a peer may sleep' : ''}`
}

function showPeer(word: number): string {
  return word === 0 ? 'none' : `peer ${slotOf(word as PeerId)}`
}

function showOwner(word: number): string {
  const flags = [word & ABANDONED && 'A', word & INCONSISTENT && 'I', word & CONTENDED && 'C'].filter(Boolean)
  return [showPeer(ownerOf(word)), ...flags].join(' ')
}

function showPhase(word: number): string {
  return `phase ${phaseOf(word)} (word ${word})${word & BROKEN ? ' broken' : ''}`
}

function showMember(word: number): string {
  return word === NO_MEMBER ? 'none' : `${showPeer(peerOfMember(word))}, next ${word >>> 29}`
}

/** The words of an SPSC ring in a layout. */
export function spscRingNames(name: string, byteOffset: number, capacityBytes: number): WordName[] {
  const word = (offset: number, word: string): WordName => ({
    byteOffset: byteOffset + offset,
    name: `${name}.${word}`,
  })
  return [
    { ...word(PRODUCER_ROLE_OFFSET, 'producerRole'), show: showRole },
    { ...word(CONSUMER_ROLE_OFFSET, 'consumerRole'), show: showRole },
    word(REPORTED_EPOCH_OFFSET, 'reportedEpoch'),
    word(WRITE_POSITION_OFFSET, 'writePosition'),
    word(READ_POSITION_OFFSET, 'readPosition'),
    ...eventCountNames(`${name}.consumerEvents`, byteOffset + CONSUMER_EVENTS_OFFSET),
    ...eventCountNames(`${name}.producerEvents`, byteOffset + PRODUCER_EVENTS_OFFSET),
    ...Array.from({ length: capacityBytes / 4 }, (_, index) =>
      word(RECORDS_OFFSET + index * 4, `records[${index * 4}]`),
    ),
  ]
}

/** The size of an MPMC queue; `lanes` with the one of the dead letters. */
export interface QueueSize {
  readonly blocks: number
  readonly blockBytes: number
  readonly slots: number
  readonly lanes: number
}

/** The words of an MPMC queue in a layout. Those of a block that only its owner or holder reads have no names. */
export function mpmcQueueNames(name: string, byteOffset: number, size: QueueSize): Names {
  const { blocks, blockBytes, slots, lanes } = size
  const { slotsOffset, blocksOffset, strideBytes } = placesOf(blocks, blockBytes, lanes, slots)
  const word = (offset: number, word: string): WordName => ({
    byteOffset: byteOffset + offset,
    name: `${name}.${word}`,
  })
  const counts = [
    word(GIVEN_UP_OFFSET, 'givenUp'),
    word(LOST_OFFSET, 'lost'),
    word(ORPHANS_LEFT_OFFSET, 'orphansLeft'),
    word(ORPHANS_SEEN_OFFSET, 'orphansSeen'),
  ]
  const showSlot = (value: number): string => {
    const block = value & (slots - 1)
    return `lap ${(value & -slots) / slots}, ${block === slots - 1 ? 'END' : `block ${block}`}`
  }
  const ofLanes = Array.from({ length: lanes }, (_, lane) => [
    word(tailOffsetOf(lane), `tail[${lane}]`),
    word(headOffsetOf(lane), `head[${lane}]`),
    ...Array.from({ length: slots }, (_, slot) => ({
      ...word(slotsOffset + (lane * slots + slot) * 4, lanes === 1 ? `slots[${slot}]` : `slots[${lane}][${slot}]`),
      show: showSlot,
    })),
  ])
  const ofBlocks = Array.from({ length: blocks }, (_, block) => {
    const start = blocksOffset + block * strideBytes
    return [
      { ...word(start, `cells[${block}]`), show: showCell },
      word(start + POSITION_WORD * 4, `position[${block}]`),
      word(start + KIND_WORD * 4, `kind[${block}]`),
      word(start + DONE_WORD * 4, `done[${block}]`),
      word(start + COUNT_WORD * 4, `count[${block}]`),
    ]
  })
  return allOf(
    { wordNames: [...counts, ...ofLanes.flat(), ...ofBlocks.flat()], quietBytes: [] },
    waiterSetNames(`${name}.messages`, byteOffset + MESSAGES_OFFSET),
    waiterSetNames(`${name}.space`, byteOffset + SPACE_OFFSET),
    waiterSetNames(`${name}.deadLetters`, byteOffset + DEAD_LETTERS_OFFSET),
  )
}

/** The words of a pipe in each block of an MPMC queue. */
export function pipeNames(name: string, byteOffset: number, size: QueueSize): WordName[] {
  const { blocks, blockBytes, slots, lanes } = size
  const { blocksOffset, strideBytes } = placesOf(blocks, blockBytes, lanes, slots)
  return Array.from({ length: blocks }, (_, block): WordName[] => {
    const start = byteOffset + blocksOffset + block * strideBytes
    return [
      { byteOffset: start + PIPE_LEASE_WORD * 4, name: `${name}.lease[${block}]`, show: showPipeLease },
      { byteOffset: start + SENDER_WORD * 4, name: `${name}.sender[${block}]`, show: showPeer },
      { byteOffset: start + PIPE_WRITE_OFFSET, name: `${name}.writePosition[${block}]` },
      { byteOffset: start + PIPE_READ_OFFSET, name: `${name}.readPosition[${block}]` },
      ...eventCountNames(`${name}.receiverEvents[${block}]`, start + PIPE_RECEIVER_EVENTS_OFFSET),
      ...eventCountNames(`${name}.senderEvents[${block}]`, start + PIPE_SENDER_EVENTS_OFFSET),
    ]
  }).flat()
}

function showPipeLease(word: number): string {
  const marks = [
    word & SENDER_GONE && 'GONE',
    word & SENDER_ABORTED && 'ABORTED',
    word & RECEIVER_DONE && 'DONE',
    word & RECEIVER_LEFT && 'LEFT',
  ].filter(Boolean)
  return marks.length === 0 ? 'no mark' : marks.join(' ')
}

/** The words of a latest value in a layout. */
export function latestNames(name: string, byteOffset: number, byteLength: number, slots: number): Names {
  const word = (offset: number, word: string): WordName => ({
    byteOffset: byteOffset + offset,
    name: `${name}.${word}`,
  })
  const ofSlots = Array.from({ length: slots }, (_, slot) => {
    const start = SLOTS_OFFSET + slot * strideOf(byteLength)
    return [
      { ...word(start, `stamp[${slot}]`), show: showVersion },
      word(start + LENGTH_WORD * 4, `byteLength[${slot}]`),
      ...Array.from({ length: byteLength / 4 }, (_, index) =>
        word(start + SLOT_HEADER_BYTES + index * 4, `bytes[${slot}][${index * 4}]`),
      ),
    ]
  })
  return allOf(
    {
      wordNames: [
        { ...word(WRITER_ROLE_OFFSET, 'writerRole'), show: showRole },
        { ...word(CURRENT_OFFSET, 'current'), show: showVersion },
        ...ofSlots.flat(),
      ],
      quietBytes: [],
    },
    waiterSetNames(`${name}.readers`, byteOffset + READERS_OFFSET),
  )
}

/** The words of a broadcast ring in a layout. */
export function broadcastNames(name: string, byteOffset: number, capacityBytes: number, gates: number): Names {
  const word = (offset: number, word: string): WordName => ({
    byteOffset: byteOffset + offset,
    name: `${name}.${word}`,
  })
  const position = (offset: number, name: string) => [word(offset, name), word(offset + 4, `${name}.era`)]
  const wordNames = [
    { ...word(PUBLISHER_ROLE_OFFSET, 'publisherRole'), show: showRole },
    ...position(BROADCAST_WRITE_OFFSET, 'writePosition'),
    ...position(INTENT_OFFSET, 'intent'),
    ...[0, 1].flatMap((place) =>
      ['position', 'low', 'high', 'inside'].map((part, at) =>
        word(NUMBERS_OFFSET + place * NUMBER_BYTES + at * 4, `number[${place}].${part}`),
      ),
    ),
    ...Array.from({ length: CHECKPOINTS }, (_, at) => word(CHECKPOINTS_OFFSET + at * 4, `checkpoint[${at}]`)),
    ...eventCountNames(`${name}.space`, byteOffset + SPACE_EVENTS_OFFSET),
    ...Array.from({ length: gates }, (_, gate) => [
      { ...word(GATES_OFFSET + gate * GATE_BYTES, `gate[${gate}]`), show: showGate },
      ...position(GATES_OFFSET + gate * GATE_BYTES + GATE_CURSOR_OFFSET, `cursor[${gate}]`),
    ]).flat(),
    ...Array.from({ length: capacityBytes / 4 }, (_, at) =>
      word(recordsOffsetOf(gates) + at * 4, `records[${at * 4}]`),
    ),
  ]
  return allOf({ wordNames, quietBytes: [] }, waiterSetNames(`${name}.data`, byteOffset + DATA_OFFSET))
}

const GATE_STATES = { [JOINING]: 'JOINING', [ACTIVE]: 'ACTIVE', [DEMOTED]: 'DEMOTED' }

function showGate(word: number): string {
  const state = stateOfGate(word)
  return word === 0 ? 'FREE' : `${state === 0 ? 'no state' : GATE_STATES[state]}, ${showPeer(peerOfGate(word))}`
}

function showVersion(word: number): string {
  return `version ${word >>> 0}`
}

const CELL_STATES = ['FREE', 'OWNED', 'HELD', 'RETURNING']

export function showCell(cell: number): string {
  const hold = cell & HOLD_MASK
  const isUnowned = hold === FREE_CELL || hold === ORPHAN
  const state = hold === ORPHAN ? 'ORPHAN' : CELL_STATES[stateOfCell(cell) >>> 7]
  return `${state}${isUnowned ? '' : ` by slot ${slotOfCell(cell)}`}, seq ${cell >>> 9}`
}

function peerNames(): WordName[] {
  return Array.from({ length: MAX_PEERS }, (_, slot) => {
    const word = (index: number, name: string): WordName => {
      return { byteOffset: PEERS_BYTE_OFFSET + slot * PEER_SLOT_BYTES + index * 4, name: `peers[${slot}].${name}` }
    }
    return [
      { ...word(STATE_WORD, 'state'), show: showSlotState },
      word(PID_WORD, 'pid'),
      word(THREAD_ID_WORD, 'threadId'),
      word(LEASE_WORD, 'lease'),
      word(WAKE_WORD, 'wake'),
      ...Array.from({ length: HINT_WORDS }, (_, group) => word(HINTS_WORD + group, `hints[${group}]`)),
    ]
  }).flat()
}

/** The names of a region's words, made from the constants of its layouts. */
export class WordNames {
  readonly #names = new Map<number, WordName>()

  constructor(scenario: Scenario, { rootByteOffset }: RegionWords) {
    for (const name of peerNames()) this.#names.set(name.byteOffset >>> 2, name)
    for (const name of scenario.wordNames) this.#names.set((rootByteOffset + name.byteOffset) >>> 2, name)
  }

  nameOf(word: number): string {
    return this.#names.get(word)?.name ?? `word ${word}`
  }

  show(word: number, value: number): string {
    return this.#names.get(word)?.show?.(value) ?? String(value)
  }
}
