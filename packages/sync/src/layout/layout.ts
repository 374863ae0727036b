import { IsthmusTypeError, inWords } from '../errors.js'
import type { PeerId } from '../peers/peer-id.js'
import type { Region } from '../region/region.js'

/**
 * Describes one structure in shared memory: its size and alignment, how to initialise it once, how to attach to it any
 * number of times, how to clean up after a dead peer. Factories such as `struct`, `array`, `f64` or `spscRing` make layouts.
 */
export interface Layout<T> {
  /** Bytes that the structure takes. */
  readonly byteLength: number
  /** A power of two that its byte offset is a multiple of; at most MAX_ALIGNMENT. */
  readonly byteAlignment: number
  /**
   * Kind, format version and every parameter that decides the bytes, such as `spsc-ring@1(capacityBytes=1048576,…)`.
   * The header of the region contains it as text. Opening the region compares it; an error shows both if they differ.
   */
  readonly signature: string
  /**
   * Pairs of words, as byte offsets from the start of the structure, that differ if and only if something in it waits to be
   * delivered. A tool that knows no layouts can thereby tell a drained region from one with data.
   */
  readonly backlog?: readonly WordPair[]
  /** Writes the first state into zeroed memory, before any other agent can reach it. */
  initialize(region: Region, byteOffset: number): void
  /**
   * Makes the object through which this agent uses the structure. Changes nothing in the memory.
   * @param path for messages: the keys and indexes that lead to it, such as `shops[1].orders`; undefined for the root itself
   */
  attach(region: Region, byteOffset: number, path?: string): T
  /** Gives back what a proven-dead peer held. Idempotent, since its caller may be killed half-way. */
  sweep(region: Region, byteOffset: number, deadPeer: PeerId): void
  /** After a crash of the machine, while no peer is attached: keeps what is consistent, drops the rest. */
  recover?(region: Region, byteOffset: number): void
}

/**
 * For callers without types.
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function assertLayout(value: unknown, where: string): void {
  if (typeof (value as Layout<unknown> | undefined)?.initialize === 'function') return
  const found = typeof value === 'function' ? `the function ${value.name}` : inWords(value)
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `${where}: got ${found}, not a layout. Give f64(), mutex(), struct({ … }) or another one, with its parentheses.`,
  )
}

/** What messages call a structure, such as `the ring "orders[3]" of the segment /shop`. */
export function subjectOf(structure: string, region: Region, path: string | undefined): string {
  return `the ${structure}${path === undefined ? '' : ` ${JSON.stringify(path)}`} of ${region.subject}`
}

/** Byte offsets of two 32-bit words. */
export type WordPair = readonly [written: number, read: number]

/** The same pairs, counted from `byteOffset` bytes earlier. */
export function movedBy(byteOffset: number, pairs: readonly WordPair[]): WordPair[] {
  return pairs.map(([written, read]) => [written + byteOffset, read + byteOffset])
}

/** The type of what `attach` of this layout returns. */
export type Attached<L> = L extends Layout<infer T> ? T : never

/** The most bytes that a region can have. */
export const REGION_BYTES_MAX = 2 ** 32

/** The largest alignment that a layout can ask for: two cache lines, since the hardware fetches them in pairs. */
export const MAX_ALIGNMENT = 128

export function alignUp(byteOffset: number, alignment: number): number {
  return Math.ceil(byteOffset / alignment) * alignment
}
