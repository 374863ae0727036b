import { EventCount } from '@isthmus/sync/internal'
import { Counterpart } from '../role/counterpart.js'
import { Role } from '../role/role.js'
import type { RingGeometry } from './geometry.js'
import {
  CONSUMER_EVENTS_OFFSET,
  CONSUMER_ROLE_OFFSET,
  PRODUCER_EVENTS_OFFSET,
  PRODUCER_ROLE_OFFSET,
  REPORTED_EPOCH_OFFSET,
} from './layout.js'

/**
 * What a producer or a consumer works with. It is made before the role is taken: it maps memory and goes deep into the
 * stack, and if that failed afterwards, this attachment would have a role and no handle to give it back.
 */
export class RingSide {
  readonly geometry: RingGeometry
  readonly role: Role
  readonly counterpart: Counterpart
  /** Where this side waits. */
  readonly events: EventCount
  /** Where the other side waits. */
  readonly counterpartEvents: EventCount
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly view: DataView

  private constructor(
    geometry: RingGeometry,
    role: Role,
    counterpart: Counterpart,
    eventsOffset: number,
    counterpartEventsOffset: number,
  ) {
    const { region, byteOffset } = geometry
    this.geometry = geometry
    this.role = role
    this.counterpart = counterpart
    this.events = new EventCount(region, byteOffset + eventsOffset)
    this.counterpartEvents = new EventCount(region, byteOffset + counterpartEventsOffset)
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength } = this.bytes
    // Not region.words: those may be mapped at another address, and alternating between two addresses of one cache line
    // costs time.
    this.words = new Int32Array(buffer, start, byteLength / 4)
    this.doubles = new Float64Array(buffer, start, Math.floor(byteLength / 8))
    this.view = new DataView(buffer, start, byteLength)
  }

  static producer(geometry: RingGeometry): RingSide {
    const consumer = new Counterpart(geometry.region, consumerRole(geometry))
    return new RingSide(geometry, producerRole(geometry), consumer, PRODUCER_EVENTS_OFFSET, CONSUMER_EVENTS_OFFSET)
  }

  static consumer(geometry: RingGeometry): RingSide {
    const { region, byteOffset } = geometry
    const producer = new Counterpart(region, producerRole(geometry), byteOffset + REPORTED_EPOCH_OFFSET)
    return new RingSide(geometry, consumerRole(geometry), producer, CONSUMER_EVENTS_OFFSET, PRODUCER_EVENTS_OFFSET)
  }
}

export function producerRole({ region, byteOffset, subject }: RingGeometry): Role {
  return new Role(region, byteOffset + PRODUCER_ROLE_OFFSET, 'producer', subject)
}

export function consumerRole({ region, byteOffset, subject }: RingGeometry): Role {
  return new Role(region, byteOffset + CONSUMER_ROLE_OFFSET, 'consumer', subject)
}
