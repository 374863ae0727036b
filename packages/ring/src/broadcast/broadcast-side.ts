import { EventCount, WaiterSet } from '@isthmus/sync/internal'
import { Role } from '../role/role.js'
import { Checkpoints } from './checkpoints.js'
import { Gates } from './gates.js'
import type { BroadcastGeometry } from './geometry.js'
import {
  CHECKPOINTS_OFFSET,
  DATA_OFFSET,
  INTENT_OFFSET,
  NUMBERS_OFFSET,
  PUBLISHER_ROLE_OFFSET,
  SPACE_EVENTS_OFFSET,
  WRITE_POSITION_OFFSET,
} from './layout.js'
import { NextNumber } from './next-number.js'
import { SharedPosition } from './position.js'

/**
 * What a publisher or a subscriber works with. It is made before the role, or a gate, is taken: it maps memory and goes deep into
 * the stack, and if that failed afterwards, this attachment would have a role and no handle to give it back. Each handle has one
 * of its own, since positions remember what they have read.
 */
export class BroadcastSide {
  readonly geometry: BroadcastGeometry
  readonly publisherRole: Role
  /** Where subscribers wait for messages. */
  readonly data: WaiterSet
  /** Where the publisher waits for gates. */
  readonly space: EventCount
  readonly writePosition: SharedPosition
  readonly intent: SharedPosition
  readonly nextNumber: NextNumber
  readonly checkpoints: Checkpoints
  readonly gates: Gates
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView

  constructor(geometry: BroadcastGeometry) {
    const { region, byteOffset, subject, capacityBytes } = geometry
    this.geometry = geometry
    this.publisherRole = publisherRole(geometry)
    this.data = dataOf(geometry)
    this.space = spaceOf(geometry)
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength } = this.bytes
    // Not region.words: those may be mapped at another address, and alternating between two addresses of one cache line
    // costs time.
    this.words = new Int32Array(buffer, start, byteLength / 4)
    this.doubles = new Float64Array(buffer, start, Math.floor(byteLength / 8))
    this.view = new DataView(buffer, start, byteLength)
    const { words } = this
    this.writePosition = new SharedPosition(words, byteOffset + WRITE_POSITION_OFFSET, subject, 'write position')
    this.intent = new SharedPosition(words, byteOffset + INTENT_OFFSET, subject, 'intent')
    this.nextNumber = new NextNumber(words, byteOffset + NUMBERS_OFFSET, subject)
    this.checkpoints = new Checkpoints(words, byteOffset + CHECKPOINTS_OFFSET, capacityBytes)
    this.gates = new Gates(geometry, words, this.space)
  }
}

export function publisherRole({ region, byteOffset, subject }: BroadcastGeometry): Role {
  return new Role(region, byteOffset + PUBLISHER_ROLE_OFFSET, 'publisher', subject)
}

export function dataOf({ region, byteOffset }: BroadcastGeometry): WaiterSet {
  return new WaiterSet(region, byteOffset + DATA_OFFSET)
}

export function spaceOf({ region, byteOffset }: BroadcastGeometry): EventCount {
  return new EventCount(region, byteOffset + SPACE_EVENTS_OFFSET)
}
