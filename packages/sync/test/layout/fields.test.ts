import { describe, expect, test } from 'vitest'
import { bytes, f64, HeapRegion, i32, i64, type Layout, struct, u32, words } from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'

interface AtomicField<N> {
  value: N
  add(amount: N): N
  exchange(value: N): N
  compareExchange(expected: N, replacement: N): N
}

interface Range<N> {
  readonly zero: N
  readonly one: N
  readonly min: N
  readonly max: N
}

function checkAtomicField<N>(name: string, layout: () => Layout<AtomicField<N>>, { zero, one, min, max }: Range<N>) {
  describe(name, () => {
    const make = () => HeapRegion.create(layout())

    test(`${name}.value is 0 at first and holds the ends of its range`, () => {
      const { root } = make()
      expect(root.value).toBe(zero)
      for (const value of [min, max, one]) {
        root.value = value
        expect(root.value).toBe(value)
      }
    })

    test(`${name}.add returns the value before and wraps`, () => {
      const { root } = make()
      root.value = max
      expect(root.add(one)).toBe(max)
      expect(root.value).toBe(min)
    })

    test(`${name}.exchange returns the value before`, () => {
      const { root } = make()
      root.value = max
      expect(root.exchange(one)).toBe(max)
      expect(root.value).toBe(one)
    })

    test(`${name}.compareExchange stores only if the value is the expected one`, () => {
      const { root } = make()
      root.value = max
      expect(root.compareExchange(one, min)).toBe(max)
      expect(root.value).toBe(max)
      expect(root.compareExchange(max, one)).toBe(max)
      expect(root.value).toBe(one)
    })

    test(`${name} is one value for two attachments`, () => {
      const region = make()
      const other = HeapRegion.attach(region.handle, layout())
      region.root.value = max
      expect(other.root.value).toBe(max)
    })

    test(`${name} refuses every access after its region was closed`, () => {
      const region = make()
      const { root } = region
      region.close()
      expectCode('ERR_ISTHMUS_CLOSED', () => root.value)
      expectCode('ERR_ISTHMUS_CLOSED', () => {
        root.value = one
      })
      expectCode('ERR_ISTHMUS_CLOSED', () => root.add(one))
      expectCode('ERR_ISTHMUS_CLOSED', () => root.exchange(one))
      expectCode('ERR_ISTHMUS_CLOSED', () => root.compareExchange(zero, one))
    })
  })
}

checkAtomicField('i32', i32, { zero: 0, one: 1, min: -(2 ** 31), max: 2 ** 31 - 1 })
checkAtomicField('i64', i64, { zero: 0n, one: 1n, min: -(2n ** 63n), max: 2n ** 63n - 1n })
checkAtomicField('u32', u32, { zero: 0, one: 1, min: 0, max: 2 ** 32 - 1 })

describe('f64', () => {
  test('Float64Field.value keeps every kind of number, and is 0 at first', () => {
    const { root } = HeapRegion.create(f64())
    expect(root.value).toBe(0)
    for (const value of [12.5, -0, Number.NaN, Number.NEGATIVE_INFINITY, Number.MIN_VALUE]) {
      root.value = value
      expect(root.value).toBe(value)
    }
  })

  test('Float64Field refuses access after its region was closed', () => {
    const region = HeapRegion.create(f64())
    const { root } = region
    region.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => root.value)
    expectCode('ERR_ISTHMUS_CLOSED', () => {
      root.value = 1
    })
  })
})

describe('bytes and words', () => {
  const layout = struct({ before: u32(), bytes: bytes(5), words: words(3), after: u32() })

  test('bytes(n) and words(n) are zeroed arrays of exactly n elements', () => {
    const { root } = HeapRegion.create(layout)
    expect([...root.bytes]).toEqual([0, 0, 0, 0, 0])
    expect([...root.words]).toEqual([0, 0, 0])
  })

  test('bytes(n) and words(n) share their memory between attachments', () => {
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout)
    region.root.bytes.fill(7)
    Atomics.store(region.root.words, 2, -9)
    expect([...other.root.bytes]).toEqual([7, 7, 7, 7, 7])
    expect(Atomics.load(other.root.words, 2)).toBe(-9)
  })

  test('bytes(n) and words(n) leave their neighbours alone', () => {
    const { root } = HeapRegion.create(layout)
    root.before.value = 1
    root.after.value = 2
    root.bytes.fill(0xff)
    root.words.fill(-1)
    expect([root.before.value, root.after.value]).toEqual([1, 2])
  })

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('bytes(%s) and words(%s) are refused', (n) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => bytes(n))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => words(n))
    expect(() => bytes(n)).toThrow(RangeError)
  })
})

test.each([
  [i32(), 'i32', 4, 4],
  [u32(), 'u32', 4, 4],
  [i64(), 'i64', 8, 8],
  [f64(), 'f64', 8, 8],
  [bytes(5), 'bytes(5)', 5, 8],
  [words(3), 'words(3)', 12, 8],
] as const)('layout %# tells signature, length and alignment', (layout, signature, byteLength, byteAlignment) => {
  expect(layout).toMatchObject({ signature, byteLength, byteAlignment })
})
