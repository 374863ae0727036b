import { MAX_PEERS } from '@isthmus/sync'
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
import {
  generationOfSlotWord,
  HOLD_WORD,
  PEER_SLOT_BYTES,
  PID_WORD,
  STATE_WORD,
  stateOfSlotWord,
  THREAD_ID_WORD,
} from '../../../packages/sync/src/peers/layout.js'
import { PEERS_BYTE_OFFSET } from '../../../packages/sync/src/region/header.js'
import type { RegionWords, Scenario, WordName } from './scenario.js'

const ROLE_STATES = ['VACANT', 'HELD', 'CLOSED', 'DIED']
const SLOT_STATES = ['FREE', 'LIVE', 'DEAD']

function showRole(word: number): string {
  return `${ROLE_STATES[stateOfRole(word)]} (epoch ${epochOfRole(word)}, slot ${slotOfRole(word)})`
}

function showSlotState(word: number): string {
  return `${SLOT_STATES[stateOfSlotWord(word)]} (generation ${generationOfSlotWord(word)})`
}

/** An event count, as it lies in a layout. */
export function eventCountNames(name: string, byteOffset: number): WordName[] {
  return [
    { byteOffset, name: `${name}.waiting` },
    { byteOffset: byteOffset + 4, name: `${name}.sequence` },
  ]
}

/** An SPSC ring, as it lies in a layout. */
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

function peerNames(): WordName[] {
  return Array.from({ length: MAX_PEERS }, (_, slot) => {
    const word = (index: number, name: string): WordName => {
      return { byteOffset: PEERS_BYTE_OFFSET + slot * PEER_SLOT_BYTES + index * 4, name: `peers[${slot}].${name}` }
    }
    return [
      { ...word(STATE_WORD, 'state'), show: showSlotState },
      word(PID_WORD, 'pid'),
      word(THREAD_ID_WORD, 'threadId'),
      word(HOLD_WORD, 'hold'),
    ]
  }).flat()
}

/** The names of a region's words, from the constants of its layouts. */
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
