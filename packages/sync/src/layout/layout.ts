import { IsthmusTypeError, inWords } from '../errors.js'
import type { PeerId } from '../peers/peer-id.js'
import type { Region } from '../region/region.js'

/**
 * What lives in a stretch of shared memory: its size and alignment, how to initialise it once, how to attach to it any
 * number of times, and how to clean up after a dead peer. Factories such as `struct`, `f64` or `spscRing` make layouts.
 */
export interface Layout<T> {
  /** Bytes that the structure takes. */
  readonly byteLength: number
  /** A power of two that its byte offset is a multiple of; at most MAX_ALIGNMENT. */
  readonly byteAlignment: number
  /**
   * Kind, format version and every parameter that decides the bytes, such as `spsc-ring@1(capacityBytes=1048576,…)`.
   * It stands in the header of the region as text, is compared when the region is opened, and shown where it differs.
   */
  readonly signature: string
  /**
   * Where the structure shows that something in it waits to be delivered: pairs of words that differ exactly then, as
   * byte offsets from its start. They let a tool that knows no layouts tell a drained region from one with data.
   */
  readonly backlog?: readonly WordPair[]
  /** Writes the first state, into zeroed memory that nobody else can reach yet. */
  initialize(region: Region, byteOffset: number): void
  /**
   * The object through which this agent uses the structure. Changes nothing in the memory.
   * @param path the keys of the structs around it, such as `orders.ring`, for messages; undefined for the root itself
   */
  attach(region: Region, byteOffset: number, path?: string): T
  /** Gives back what a proven-dead peer held. Idempotent; its caller may itself be killed half-way. */
  sweep(region: Region, byteOffset: number, deadPeer: PeerId): void
  /** After a crash of the machine: keeps what is consistent, drops the rest. No peer is attached. */
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
    `${where}: got ${found}, not a layout. Write f64(), mutex(), struct({ … }) or another one, with its parentheses.`,
  )
}

/** What messages call a structure: `the ring "orders" of the segment /shop`. */
export function subjectOf(structure: string, region: Region, path: string | undefined): string {
  return `the ${structure}${path === undefined ? '' : ` ${JSON.stringify(path)}`} of ${region.subject}`
}

/** Byte offsets of two 32-bit words. */
export type WordPair = readonly [written: number, read: number]

/** What attaching to this layout gives. */
export type Attached<L> = L extends Layout<infer T> ? T : never

/** The largest alignment that a layout can ask for: two cache lines, since the hardware fetches them in pairs. */
export const MAX_ALIGNMENT = 128

export function alignUp(byteOffset: number, alignment: number): number {
  return Math.ceil(byteOffset / alignment) * alignment
}
