import { IsthmusError, IsthmusRangeError } from '../errors.js'
import { alignUp, assertLayout, type Layout, MAX_ALIGNMENT, REGION_BYTES_MAX, type WordPair } from '../layout/layout.js'
import { PEER_SLOT_BYTES } from '../peers/layout.js'
import { MAX_PEERS } from '../peers/peer-id.js'

/**
 * The header at the start of each region, on the heap, in /dev/shm or in a file. All numbers are little-endian.
 *
 * ```
 * byte    0                   8           12          16                  24                  32
 *         +-------------------+-----------+-----------+-------------------+-------------------+
 *         | magic "ISTHMUS\0" | version   | state     | byte length (64)  | region id (64)    |
 *         +-------------------+-----------+-----------+-------------------+-------------------+
 *        32                                          48                                      64
 *         +-------------------------------------------+---------+---------+---------+---------+
 *         | boot id (16 bytes)                        | root    | text    | text    | pairs   |
 *         |                                           | offset  | offset  | length  | count   |
 *         +-------------------------------------------+---------+---------+---------+---------+
 *        64          68          72          76          80          84          88          92
 *         +-----------+-----------+-----------+-----------+-----------+-----------+-----------+
 *         | flushed   | checksum  | lock pid  | lock      | lock turn | flush     | attach-   |
 *         |           |           |           | purpose   |           | number    | ments     |
 *         +-----------+-----------+-----------+-----------+-----------+-----------+-----------+
 *        92   reserved, 0
 *       128   peers table: 128 slots of 64 bytes (peers/layout.ts)
 *      8320   signature text, UTF-8
 *         …   backlog pairs, 4-aligned: byte offsets (32 + 32) from the start of the region, one pair after the other
 *         …   root: the layout's own bytes, 128-aligned
 * ```
 *
 * | field           | written by                            | read by       | its writer is killed right after                |
 * |-----------------|---------------------------------------|---------------|-------------------------------------------------|
 * | magic … pairs   | the creator, before it is reachable   | every opener  | the region never becomes reachable              |
 * | state           | the creator: READY; a remover, under  | every opener, | RETIRED and still named: the next opener or     |
 * |                 | the header lock: RETIRED              | under the lock| remover completes the removal, under the lock   |
 * | boot id         | the creator; the first opener after a | every opener, | the next opener still finds another boot id and |
 * |                 | boot, under the lock: of a clean file | under the lock| recovers again; in a clean file, slots that are |
 * |                 | before its sweep, else when recovered |               | not swept yet are swept when they are taken     |
 * | checksum, then  | the flusher of a file, under the lock:| the first     | the checksum fits, or the file counts as not    |
 * | flushed         | its checksum and its flush number     | opener after  | flushed; an earlier flush that is still running |
 * |                 | (0: never flushed), unless flushed is | a boot;       | stores its own, which is as good if nothing     |
 * |                 | of a later flush                      | flushers      | was changed meanwhile                           |
 * | flush number    | a flusher, +1, before it reads the    | flushers      | one number is skipped                           |
 * |                 | bytes for its checksum                |               |                                                 |
 * | lock pid, lock  | the holder of the header lock, when   | waiters for   | they name a dead process; a waiter only shows   |
 * | purpose         | it takes and leaves the lock          | the lock      | them, and starts its time anew if they change   |
 * | lock turn       | a holder that has the region mapped,  | waiters, which| waiters sleep to the end of their slice (20 ms) |
 * |                 | +1: after it has left the lock, and   | sleep on it   | and try the lock, which alone decides           |
 * |                 | at each step of a long operation      |               |                                                 |
 * | attachments     | an attacher, +1, under the lock and   | closers and   | a checksum that was computed meanwhile is       |
 * |                 | before it changes anything else       | openers of a  | computed once more                              |
 * |                 |                                       | file          |                                                 |
 *
 * A region is valid if and only if
 * 1. it begins with the magic and a version that the reader knows,
 * 2. the file, if there is one, is as long as `byte length` says,
 * 3. text, pairs and root lie in it one after the other, in this order,
 * 4. its state is READY.
 */
export const MAGIC = 'ISTHMUS\0'
/**
 * 2: a peer slot says where the FIFOs of its thread are. 3: the FIFOs are called .alive and .wake. 4: a sleeper is woken
 * once (see EventCount and WaiterSet). 5: a bit says whether a peer may sleep in a WaiterSet.
 */
export const FORMAT_VERSION = 5

export const VERSION_WORD = 2
export const STATE_WORD = 3
export const BYTE_LENGTH_WORD = 4
export const REGION_ID_WORD = 6
export const BOOT_ID_WORD = 8
const ROOT_OFFSET_WORD = 12
const TEXT_OFFSET_WORD = 13
const TEXT_LENGTH_WORD = 14
const PAIR_COUNT_WORD = 15
export const FLUSHED_WORD = 16
export const CHECKSUM_WORD = 17
export const LOCK_PID_WORD = 18
/** What the holder of the lock is doing; shm-posix/src/segment/header-lock.ts defines the numbers. */
export const LOCK_PURPOSE_WORD = 19
export const LOCK_TURN_WORD = 20
export const FLUSH_NUMBER_WORD = 21
export const ATTACHMENTS_WORD = 22

export const PEERS_BYTE_OFFSET = 128
const TEXT_BYTE_OFFSET = PEERS_BYTE_OFFSET + MAX_PEERS * PEER_SLOT_BYTES
/** The fixed part, which says where everything else lies. */
export const FIXED_HEADER_BYTES = 128

export const INITIALISING = 0
export const READY = 1
export const RETIRED = 2

/** Bytes are reserved in whole pages, since memory is mapped in whole pages. */
const PAGE_BYTES = 4096
/** Signature and backlog pairs together stay below this, so that a hostile header cannot make a reader allocate much. */
const HEADER_BYTES_MAX = 1 << 16

declare class TextEncoder {
  encode(text: string): Uint8Array
}
declare class TextDecoder {
  decode(bytes: Uint8Array): string
}

/** Where everything lies in a region that holds this layout. */
export interface HeaderPlan {
  readonly signature: Uint8Array
  readonly pairsByteOffset: number
  readonly rootByteOffset: number
  readonly byteLength: number
}

/** @throws IsthmusRangeError `ERR_ISTHMUS_INVALID_ARGUMENT` if the region would be larger than 4 GiB */
export function planHeader(layout: Layout<unknown>): HeaderPlan {
  assertLayout(layout, 'Making a region')
  const signature = new TextEncoder().encode(layout.signature)
  const pairsByteOffset = alignUp(TEXT_BYTE_OFFSET + signature.byteLength, 4)
  const rootByteOffset = alignUp(pairsByteOffset + (layout.backlog?.length ?? 0) * 8, MAX_ALIGNMENT)
  const byteLength = alignUp(rootByteOffset + layout.byteLength, PAGE_BYTES)
  if (byteLength <= REGION_BYTES_MAX && rootByteOffset <= HEADER_BYTES_MAX) {
    return { signature, pairsByteOffset, rootByteOffset, byteLength }
  }
  throw new IsthmusRangeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    `Planning a region for ${shortened(layout.signature)}: it would take ${byteLength} bytes, ${rootByteOffset} of them for ` +
      `its header. A region holds at most ${REGION_BYTES_MAX} and ${HEADER_BYTES_MAX}. Use several regions.`,
  )
}

/** Writes the header into zeroed memory; the state stays INITIALISING until `markReady`. */
export function writeHeader(words: Int32Array, bytes: Uint8Array, plan: HeaderPlan, layout: Layout<unknown>): void {
  bytes.set(new TextEncoder().encode(MAGIC), 0)
  words[VERSION_WORD] = FORMAT_VERSION
  words[BYTE_LENGTH_WORD] = plan.byteLength
  words[BYTE_LENGTH_WORD + 1] = plan.byteLength / 2 ** 32
  words[ROOT_OFFSET_WORD] = plan.rootByteOffset
  words[TEXT_OFFSET_WORD] = TEXT_BYTE_OFFSET
  words[TEXT_LENGTH_WORD] = plan.signature.byteLength
  const pairs = layout.backlog ?? []
  words[PAIR_COUNT_WORD] = pairs.length
  bytes.set(plan.signature, TEXT_BYTE_OFFSET)
  pairs.flat().forEach((byteOffset, position) => {
    words[plan.pairsByteOffset / 4 + position] = plan.rootByteOffset + byteOffset
  })
}

/** Says that the region is complete. */
export function markReady(words: Int32Array): void {
  // SYNC region complete: header, and everything that the layout has initialised
  Atomics.store(words, STATE_WORD, READY)
}

/** The fixed part of a header, read from memory or from a file. */
export interface HeaderFacts {
  readonly state: number
  readonly byteLength: number
  readonly regionId: string
  readonly bootId: string
  readonly rootByteOffset: number
  readonly textByteLength: number
  readonly pairCount: number
}

/**
 * Checks magic, version, size and structure of a header, in this order.
 * @param head a private copy of the first FIXED_HEADER_BYTES bytes, or of all bytes if there are fewer
 * @param found how messages call the region, and its size in bytes
 * @throws IsthmusError `ERR_ISTHMUS_FOREIGN`, `ERR_ISTHMUS_VERSION`, `ERR_ISTHMUS_SIZE`, `ERR_ISTHMUS_CORRUPT`
 */
export function readHeader(head: Uint8Array, found: { subject: string; byteLength: number }): HeaderFacts {
  const attempt = `Opening ${found.subject}`
  const hasMagic = head.byteLength >= MAGIC.length && [...MAGIC].every((char, at) => head[at] === char.charCodeAt(0))
  if (!hasMagic) {
    throw new IsthmusError(
      'ERR_ISTHMUS_FOREIGN',
      `${attempt}: it does not begin with isthmus's magic, so another program made it. It was left as it is; use another name.`,
    )
  }
  if (head.byteLength < FIXED_HEADER_BYTES) throw sizeError(attempt, found.byteLength, 'a whole header')
  const words = new Uint32Array(copyOf(head, 0, FIXED_HEADER_BYTES).buffer)
  if (words[VERSION_WORD] !== FORMAT_VERSION) {
    throw new IsthmusError(
      'ERR_ISTHMUS_VERSION',
      `${attempt}: its format version is ${words[VERSION_WORD]}, this release knows ${FORMAT_VERSION}. ` +
        'Open it with the release that made it, or remove it.',
    )
  }
  const byteLength = words[BYTE_LENGTH_WORD] + words[BYTE_LENGTH_WORD + 1] * 2 ** 32
  if (byteLength !== found.byteLength) throw sizeError(attempt, found.byteLength, `${byteLength} bytes`)

  const facts = {
    state: words[STATE_WORD],
    byteLength,
    regionId: hex(head, REGION_ID_WORD * 4, 8),
    bootId: hex(head, BOOT_ID_WORD * 4, 16),
    rootByteOffset: words[ROOT_OFFSET_WORD],
    textByteLength: words[TEXT_LENGTH_WORD],
    pairCount: words[PAIR_COUNT_WORD],
  }
  const pairsByteOffset = alignUp(TEXT_BYTE_OFFSET + facts.textByteLength, 4)
  const isWellFormed =
    words[TEXT_OFFSET_WORD] === TEXT_BYTE_OFFSET &&
    facts.rootByteOffset === alignUp(pairsByteOffset + facts.pairCount * 8, MAX_ALIGNMENT) &&
    facts.rootByteOffset <= Math.min(byteLength, HEADER_BYTES_MAX)
  if (isWellFormed) return facts
  throw corruptError(
    found.subject,
    `the offsets in its header contradict each other (text ${facts.textByteLength} bytes, ${facts.pairCount} pairs, ` +
      `root at ${facts.rootByteOffset} of ${byteLength})`,
  )
}

/** @param header a private copy of the bytes up to the root */
export function readSignature(header: Uint8Array, facts: HeaderFacts): string {
  return new TextDecoder().decode(copyOf(header, TEXT_BYTE_OFFSET, facts.textByteLength))
}

/**
 * The word pairs that differ while something waits to be delivered, as byte offsets from the start of the region.
 * @param header a private copy of the bytes up to the root
 */
export function readBacklogPairs(header: Uint8Array, facts: HeaderFacts): WordPair[] {
  const pairsByteOffset = alignUp(TEXT_BYTE_OFFSET + facts.textByteLength, 4)
  const offsets = new Uint32Array(copyOf(header, pairsByteOffset, facts.pairCount * 8).buffer)
  return Array.from({ length: facts.pairCount }, (_, pair): WordPair => [offsets[pair * 2], offsets[pair * 2 + 1]])
}

/** @throws IsthmusError `ERR_ISTHMUS_CORRUPT` if the region is not complete */
export function assertReady(subject: string, facts: HeaderFacts): void {
  // SYNC region complete: header, and everything that the layout has initialised
  if (facts.state === READY) return
  throw corruptError(subject, `its state is ${facts.state}, which no complete region has`)
}

/**
 * Checks the signature, and that everything lies where this layout has it. From here on all offsets are known, and none is
 * taken from the header.
 * @param header a private copy of the bytes up to the root
 * @throws IsthmusError `ERR_ISTHMUS_LAYOUT_MISMATCH`, with both signatures; `ERR_ISTHMUS_CORRUPT`
 */
export function assertHolds(layout: Layout<unknown>, subject: string, header: Uint8Array, facts: HeaderFacts): void {
  assertLayout(layout, `Opening ${subject}`)
  const signature = readSignature(header, facts)
  if (signature !== layout.signature) {
    throw new IsthmusError(
      'ERR_ISTHMUS_LAYOUT_MISMATCH',
      `Opening ${subject}: it holds ${shortened(signature)}, but was opened as ${shortened(layout.signature)}. ` +
        'Import the same layout in all programs, or use another name.',
    )
  }
  const plan = planHeader(layout)
  const isAsPlanned = plan.rootByteOffset === facts.rootByteOffset && plan.byteLength === facts.byteLength
  if (!isAsPlanned) throw corruptError(subject, `its ${facts.byteLength} bytes are not divided as its layout has them`)
}

function corruptError(subject: string, found: string): IsthmusError {
  return new IsthmusError('ERR_ISTHMUS_CORRUPT', `Opening ${subject}: ${found}. It cannot be used any more; remove it.`)
}

function sizeError(attempt: string, byteLength: number, expected: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_SIZE',
    `${attempt}: it is ${byteLength} bytes long, but should be ${expected}. It was cut or overwritten; remove it.`,
  )
}

/** A copy at alignment 0, even of a Node.js Buffer, whose own slice would share the memory. */
function copyOf(bytes: Uint8Array, byteOffset: number, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(byteOffset, byteOffset + byteLength))
}

function hex(bytes: Uint8Array, byteOffset: number, byteLength: number): string {
  return [...bytes.subarray(byteOffset, byteOffset + byteLength)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
}

function shortened(signature: string): string {
  return signature.length <= 400 ? signature : `${signature.slice(0, 400)}…`
}
