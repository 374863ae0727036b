import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Layout, WordPair } from '../../src/index.js'
import {
  assertHolds,
  BYTE_LENGTH_WORD,
  FIXED_HEADER_BYTES,
  INITIALISING,
  markReady,
  planHeader,
  READY,
  readBacklogPairs,
  readHeader,
  readSignature,
  VERSION_WORD,
  writeHeader,
} from '../../src/internal.js'
import { expectCode } from '../support/expect-code.js'

const ROOT_OFFSET_WORD = 12
const TEXT_OFFSET_WORD = 13
const TEXT_LENGTH_WORD = 14
const PAIR_COUNT_WORD = 15

function layoutOf(signature: string, backlog: WordPair[] = [], byteLength = 64): Layout<undefined> {
  return { signature, backlog, byteLength, byteAlignment: 128, initialize() {}, attach: () => undefined, sweep() {} }
}

function written(layout: Layout<unknown>) {
  const plan = planHeader(layout)
  const bytes = new Uint8Array(plan.byteLength)
  const words = new Int32Array(bytes.buffer)
  writeHeader(words, bytes, plan, layout)
  const read = (byteLength = bytes.byteLength) =>
    readHeader(bytes.slice(0, FIXED_HEADER_BYTES), { subject: 'it', byteLength })
  return { plan, bytes, words, read }
}

describe('header: what was written is read', () => {
  test.each([
    ['empty', ''],
    ['plain', 'ring@1(capacityBytes=64)'],
    ['beyond ASCII', 'größer → 𝄞'],
    ['long', 'x'.repeat(5_000)],
  ])('the signature, %s', (_kind, signature) => {
    const { bytes, read } = written(layoutOf(signature))
    expect(readSignature(bytes, read())).toBe(signature)
  })

  test('the backlog pairs, as offsets from the start of the region', () => {
    const { bytes, plan, read } = written(
      layoutOf('abc', [
        [0, 8],
        [128, 256],
      ]),
    )
    const root = plan.rootByteOffset
    expect(readBacklogPairs(bytes, read())).toEqual([
      [root, root + 8],
      [root + 128, root + 256],
    ])
  })

  test('a layout without backlog has no pairs', () => {
    const { backlog: _, ...layout } = layoutOf('abc')
    const { bytes, read } = written(layout)
    expect(readBacklogPairs(bytes, read())).toEqual([])
  })

  test('size and root: the root 128-aligned after text and pairs, the size in whole pages', () => {
    const { plan, read } = written(layoutOf('s'.repeat(100), [[0, 4]], 5_000))
    expect(read()).toMatchObject({ byteLength: plan.byteLength, rootByteOffset: plan.rootByteOffset, pairCount: 1 })
    expect(plan.rootByteOffset % 128).toBe(0)
    expect(plan.rootByteOffset).toBeGreaterThanOrEqual(8320 + 100 + 8)
    expect(plan.byteLength % 4096).toBe(0)
    expect(plan.byteLength).toBeGreaterThanOrEqual(plan.rootByteOffset + 5_000)
  })

  test('markReady changes the state from INITIALISING to READY', () => {
    const { words, read } = written(layoutOf('abc'))
    expect(read().state).toBe(INITIALISING)
    markReady(words)
    expect(read().state).toBe(READY)
  })
})

describe('readHeader: one message each, in this order', () => {
  const damages = {
    ERR_ISTHMUS_FOREIGN: (words: Int32Array) => {
      words[0] ^= 1
    },
    ERR_ISTHMUS_VERSION: (words: Int32Array) => {
      words[VERSION_WORD] = 99
    },
    ERR_ISTHMUS_SIZE: (words: Int32Array) => {
      words[BYTE_LENGTH_WORD] += 4096
    },
    ERR_ISTHMUS_CORRUPT: (words: Int32Array) => {
      words[ROOT_OFFSET_WORD] += 128
    },
  }
  const codes = Object.keys(damages) as (keyof typeof damages)[]

  test.each(codes)('readHeader reports %s, and reports it first if later fields are wrong as well', (code) => {
    const { words, read } = written(layoutOf('abc'))
    for (const later of codes.slice(codes.indexOf(code))) damages[later](words)
    expectCode(code, read)
  })

  test('readHeader reports a file that is shorter or longer than its header says', () => {
    const { plan, read } = written(layoutOf('abc'))
    expectCode('ERR_ISTHMUS_SIZE', () => read(plan.byteLength - 1))
    expectCode('ERR_ISTHMUS_SIZE', () => read(plan.byteLength + 1))
  })

  test('readHeader compares lengths as 64-bit numbers', () => {
    const { plan, words, read } = written(layoutOf('abc'))
    words[BYTE_LENGTH_WORD + 1] = 1
    expectCode('ERR_ISTHMUS_SIZE', read)
    expect(read(plan.byteLength + 2 ** 32).byteLength).toBe(plan.byteLength + 2 ** 32)
  })

  test.each([0, 4, 7])('readHeader of %s bytes, fewer than the magic has, is foreign', (byteLength) => {
    const { bytes } = written(layoutOf('abc'))
    expectCode('ERR_ISTHMUS_FOREIGN', () => readHeader(bytes.slice(0, byteLength), { subject: 'it', byteLength }))
  })

  test.each([8, 64, 127])('readHeader of %s bytes, fewer than a header has, is cut', (byteLength) => {
    const { bytes } = written(layoutOf('abc'))
    expectCode('ERR_ISTHMUS_SIZE', () => readHeader(bytes.slice(0, byteLength), { subject: 'it', byteLength }))
  })

  test.each([ROOT_OFFSET_WORD, TEXT_OFFSET_WORD, TEXT_LENGTH_WORD, PAIR_COUNT_WORD])(
    'readHeader refuses contradictory offsets in word %s',
    (word) => {
      for (const value of [-1, 2 ** 31 - 1, -(2 ** 31), 1 << 20]) {
        const { words, read } = written(layoutOf('abc', [[0, 4]]))
        words[word] = value
        expectCode('ERR_ISTHMUS_CORRUPT', read)
      }
    },
  )

  test('readHeader refuses a text that makes a reader allocate much, though all its offsets agree', () => {
    const { words, read } = written(layoutOf('abc'))
    const textByteLength = 2 ** 30 - 8320
    words[TEXT_LENGTH_WORD] = textByteLength
    words[ROOT_OFFSET_WORD] = 2 ** 30
    words[BYTE_LENGTH_WORD] = 2 ** 30 + 4096
    expectCode('ERR_ISTHMUS_CORRUPT', () => read(2 ** 30 + 4096))
  })

  test('readHeader answers every header with facts that stay inside it, or with a code of its own', () => {
    const { bytes } = written(layoutOf('abc', [[0, 4]]))
    const change = fc.record({ word: fc.nat(FIXED_HEADER_BYTES / 4 - 1), value: fc.integer() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), (changes) => {
        const head = bytes.slice(0, FIXED_HEADER_BYTES)
        for (const { word, value } of changes) new Int32Array(head.buffer)[word] = value
        try {
          const facts = readHeader(head, { subject: 'it', byteLength: bytes.byteLength })
          expect(facts.rootByteOffset).toBeLessThanOrEqual(bytes.byteLength)
          expect(facts.textByteLength + facts.pairCount * 8).toBeLessThanOrEqual(facts.rootByteOffset)
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_ISTHMUS_(FOREIGN|VERSION|SIZE|CORRUPT)$/) })
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('planHeader: limits', () => {
  test('planHeader takes a region of just 4 GiB, and none beyond', () => {
    const root = planHeader(layoutOf('abc')).rootByteOffset
    expect(planHeader(layoutOf('abc', [], 2 ** 32 - root)).byteLength).toBe(2 ** 32)
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => planHeader(layoutOf('abc', [], 2 ** 32 - root + 1)))
  })

  test('planHeader refuses a header beyond a mebibyte, with a message that is short', () => {
    const huge = layoutOf('x'.repeat(1 << 20))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => planHeader(huge))
    expect(() => planHeader(huge)).toThrow(/^.{1,1000}$/s)
  })
})

describe('assertHolds', () => {
  function check(layout: Layout<unknown>, wanted: Layout<unknown>) {
    const { bytes } = written(layout)
    const facts = readHeader(bytes.slice(0, FIXED_HEADER_BYTES), { subject: 'it', byteLength: bytes.byteLength })
    return () => assertHolds(wanted, '/orders', bytes, facts)
  }

  test('assertHolds passes for the layout that was written', () => {
    expect(check(layoutOf('a'), layoutOf('a'))).not.toThrow()
  })

  test('assertHolds names the subject and both signatures', () => {
    expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', check(layoutOf('found@1'), layoutOf('wanted@2')))
    expect(check(layoutOf('found@1'), layoutOf('wanted@2'))).toThrow(/\/orders.*found@1.*wanted@2/)
  })

  test('assertHolds refuses a region whose bytes are divided in another way', () => {
    expectCode('ERR_ISTHMUS_CORRUPT', check(layoutOf('a'), layoutOf('a', [[0, 4]], 1 << 16)))
  })
})
