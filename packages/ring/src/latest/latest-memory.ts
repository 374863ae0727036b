import { WaiterSet } from '@isthmus/sync/internal'
import { Role } from '../role/role.js'
import type { LatestGeometry } from './geometry.js'
import { CURRENT_OFFSET, READERS_OFFSET, SLOT_HEADER_BYTES, SLOTS_OFFSET, WRITER_ROLE_OFFSET } from './layout.js'

/**
 * What the readers and the writer of one attachment work with. It is made before the role is taken, and when a program first
 * reads: it maps memory.
 */
export class LatestMemory {
  readonly geometry: LatestGeometry
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly currentWord: number

  constructor(geometry: LatestGeometry) {
    const { region, byteOffset } = geometry
    this.geometry = geometry
    this.bytes = region.bytes
    const { buffer, byteOffset: start, byteLength: regionBytes } = this.bytes
    // Not region.words: those may be mapped at another address, and alternating between two addresses of one cache line
    // costs time.
    this.words = new Int32Array(buffer, start, regionBytes / 4)
    this.currentWord = (byteOffset + CURRENT_OFFSET) >>> 2
  }

  /** Where a slot begins, as an index of `words`. */
  headerWordOf(slot: number): number {
    const { byteOffset, strideBytes } = this.geometry
    return (byteOffset + SLOTS_OFFSET + slot * strideBytes) / 4
  }

  /** The bytes of a slot: what a claim gives. */
  bytesOf(slot: number): Uint8Array {
    const { buffer, byteOffset } = this.bytes
    return new Uint8Array(
      buffer,
      byteOffset + this.headerWordOf(slot) * 4 + SLOT_HEADER_BYTES,
      this.geometry.byteLength,
    )
  }
}

export function writerRole({ region, byteOffset, subject }: LatestGeometry): Role {
  return new Role(region, byteOffset + WRITER_ROLE_OFFSET, 'writer', subject)
}

export function waitingReaders({ region, byteOffset }: LatestGeometry): WaiterSet {
  return new WaiterSet(region, byteOffset + READERS_OFFSET)
}
