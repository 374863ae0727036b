/**
 * A record: how a message, or a fragment of one, stands in a ring of bytes. A header of 8 bytes and the payload, padded to
 * a multiple of 8.
 *
 * ```
 * byte  0                 4         5                 8                          8 + byteLength
 *       +-----------------+---------+-----------------+----------- … -------------+ - - - - - +
 *       | byteLength      | kind    | message id (24) | payload                   | padding   |
 *       +-----------------+---------+-----------------+----------- … -------------+ - - - - - +
 * ```
 *
 * | kind    | payload                                         | meaning                                                   |
 * |---------|-------------------------------------------------|-----------------------------------------------------------|
 * | DATA    | the message                                     | a whole message                                           |
 * | PADDING | nothing that matters                            | the next record begins at index 0                         |
 * | FIRST   | total length (64 bits), then the first fragment | a message in fragments begins                             |
 * | MIDDLE  | a fragment                                      | and continues                                             |
 * | LAST    | a fragment                                      | and is complete                                           |
 * | ABORT   | empty                                           | the message before it, if incomplete, stays incomplete    |
 *
 * FIRST, MIDDLE and LAST of one message carry the same message id.
 *
 * The words of a record are plain stores of the agent that owns the space, and the words of the ring around it publish
 * them; see the ring's own layout.ts. A position counts the bytes of all records since the ring was made, and an index is
 * the place of a position in the ring, `position & (capacityBytes - 1)`.
 */
export const RECORD_HEADER_BYTES = 8
export const RECORD_ALIGNMENT = 8
export const TOTAL_LENGTH_BYTES = 8

export const DATA = 1
export const PADDING = 2
export const FIRST = 3
export const MIDDLE = 4
export const LAST = 5
export const ABORT = 6

export const KIND_MASK = 0xff
const MESSAGE_ID_SHIFT = 8
const MESSAGE_ID_MASK = 0xffffff

/*
 * The next four stand on the path of every message. They are constants and not declarations: V8 compiles a constant
 * function in without checking at each call that it is still the same one.
 */

/**
 * How many bytes `ahead` lies after `behind`; negative if it lies before it. Positions are 32-bit numbers that wrap
 * around, so this is right if and only if the two are less than 2 ** 31 bytes apart. Two valid positions of one ring are
 * at most its capacity apart, 2 ** 30 bytes.
 */
export const distance = (ahead: number, behind: number): number => (ahead - behind) | 0

/** The position that lies `bytes` after this one: from 0 to 2 ** 30. */
export const advance = (position: number, bytes: number): number => (position + bytes) | 0

/** Bytes that a record takes: header, payload, and padding up to the alignment. */
export const recordBytesOf = (byteLength: number): number =>
  (byteLength + (RECORD_HEADER_BYTES + RECORD_ALIGNMENT - 1)) & -RECORD_ALIGNMENT

/**
 * Whether a record of this length ends within the published bytes and does not cross the end of the ring. `byteLength`
 * comes from shared memory and can be anything: ask before it is used as a length, or to find the next record.
 */
export const fitsRecord = (byteLength: number, publishedBytes: number, bytesUntilEnd: number): boolean =>
  byteLength >>> 0 <= publishedBytes - RECORD_HEADER_BYTES && recordBytesOf(byteLength) <= bytesUntilEnd

/** The largest message that travels in one record: with its padding it fits at any position of an empty ring. */
export function maxRecordBytesOf(capacityBytes: number): number {
  return capacityBytes / 2 - RECORD_HEADER_BYTES
}

/** Fragments stay in the caches, and several fit into the ring, so that both sides work at the same time. */
const FRAGMENT_RECORD_BYTES_MAX = 64 * 1024

export function maxFragmentRecordBytesOf(capacityBytes: number): number {
  return Math.min(FRAGMENT_RECORD_BYTES_MAX, Math.max(capacityBytes / 4, 32))
}

export function kindWord(kind: number, messageId: number): number {
  return kind | (messageId << MESSAGE_ID_SHIFT)
}

export function kindOf(word: number): number {
  return word & KIND_MASK
}

export function messageIdOf(word: number): number {
  return word >>> MESSAGE_ID_SHIFT
}

export function nextMessageId(messageId: number): number {
  return (messageId + 1) & MESSAGE_ID_MASK
}

/** The total length at the beginning of a FIRST's payload, which begins at this word. */
export function readTotalLength(words: Int32Array, payloadWord: number): number {
  return (words[payloadWord] >>> 0) + (words[payloadWord + 1] >>> 0) * 2 ** 32
}

export function writeTotalLength(words: Int32Array, payloadWord: number, byteLength: number): void {
  words[payloadWord] = byteLength
  words[payloadWord + 1] = byteLength / 2 ** 32
}
