import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  advance,
  distance,
  fitsRecord,
  kindOf,
  kindWord,
  LAST,
  maxFragmentRecordBytesOf,
  maxRecordBytesOf,
  messageIdOf,
  nextMessageId,
  recordBytesOf,
} from '../../src/record/layout.js'

describe('positions', () => {
  test('distance undoes advance at every position, also across the wrap', () => {
    const position = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
    const bytes = fc.integer({ min: 0, max: 2 ** 30 })
    fc.assert(
      fc.property(position, bytes, (start, length) => {
        const end = advance(start, length)
        expect(end).toBe(end | 0)
        expect([distance(end, start), distance(start, end) + length]).toEqual([length, 0])
      }),
      {
        examples: [
          [2 ** 31 - 1, 1],
          [-8, 8],
          [-(2 ** 31), 2 ** 30],
          [2 ** 31 - 8, 2 ** 30],
        ],
      },
    )
  })

  test.each([
    [8, 0, 8],
    [0, 8, -8],
    [-(2 ** 31), 2 ** 31 - 8, 8],
    [2 ** 31 - 8, -(2 ** 31), -8],
  ])('distance(%s, %s) is %s', (ahead, behind, bytes) => {
    expect(distance(ahead, behind)).toBe(bytes)
  })
})

describe('fitsRecord', () => {
  test.each([
    // byteLength, published, until the end
    [0, 8, 8, true],
    [0, 0, 64, false],
    [0, 8, 0, false],
    [8, 16, 16, true],
    [9, 16, 64, false],
    [9, 24, 24, true],
    [9, 24, 16, false],
    [1, 16, 8, false],
    [-1, 64, 64, false],
    [-(2 ** 31), 64, 64, false],
    [2 ** 31 - 1, 2 ** 30, 2 ** 30, false],
    [2 ** 30 - 8, 2 ** 30, 2 ** 30, true],
  ])(
    'a record of %s bytes where %s are published and the ring ends after %s: %s',
    (byteLength, published, end, fits) => {
      expect(fitsRecord(byteLength, published, end)).toBe(fits)
    },
  )
})

describe('record arithmetic', () => {
  test.each([
    [0, 8],
    [1, 16],
    [8, 16],
    [9, 24],
    [2 ** 29 - 8, 2 ** 29],
  ])('recordBytesOf(%s) is %s', (byteLength, recordBytes) => {
    expect(recordBytesOf(byteLength)).toBe(recordBytes)
  })

  test('kind and message id stand beside each other in one word', () => {
    const word = kindWord(LAST, 0xffffff)
    expect([kindOf(word), messageIdOf(word), nextMessageId(0xffffff)]).toEqual([LAST, 0xffffff, 0])
  })

  test('a record of maxRecordBytes fits at any position of an empty ring, and so does a fragment with an ABORT', () => {
    for (let capacityBytes = 64; capacityBytes <= 2 ** 30; capacityBytes *= 2) {
      const record = recordBytesOf(maxRecordBytesOf(capacityBytes))
      expect(record + (record - 8)).toBeLessThanOrEqual(capacityBytes)
      const fragment = maxFragmentRecordBytesOf(capacityBytes)
      expect(fragment + (fragment - 8) + 8).toBeLessThanOrEqual(capacityBytes)
      expect(fragment % 8).toBe(0)
    }
  })
})
