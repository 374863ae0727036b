import { describe, expect, test } from 'vitest'
import {
  array,
  f64,
  HeapRegion,
  IsthmusRangeError,
  IsthmusTypeError,
  i32,
  type Layout,
  mutex,
  type PeerId,
  struct,
  u32,
} from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'
import { attach } from '../support/regions.js'
import { spy } from '../support/spy-layout.js'

const region = HeapRegion.create(i32())

describe('array: places', () => {
  test('array puts each element at the next offset of its alignment', () => {
    const layout = array(spy('a', 5, 8), 3)
    expect([layout.byteAlignment, layout.byteLength]).toEqual([8, 24])
    expect(layout.attach(region, 1024)).toEqual(['a@1024', 'a@1032', 'a@1040'])
  })

  test('array of structs, and a struct of arrays, are placed as wholes', () => {
    const pair = struct({ x: spy('x', 4, 4), y: spy('y', 8, 64) })
    const layout = struct({ a: spy('a', 1, 1), pairs: array(pair, 2), z: spy('z', 4, 4) })
    expect(layout.attach(region, 0)).toEqual({
      a: 'a@0',
      pairs: [
        { x: 'x@64', y: 'y@128' },
        { x: 'x@192', y: 'y@256' },
      ],
      z: 'z@320',
    })
  })

  test('array of arrays has the inner ones in a row', () => {
    expect(array(array(spy('a', 4, 4), 2), 2).attach(region, 0)).toEqual([
      ['a@0', 'a@4'],
      ['a@8', 'a@12'],
    ])
  })

  test('array elements do not overlap in memory, and other attachments see each of them', () => {
    const [own, other] = attach(
      struct({ before: i32(), cells: array(struct({ n: i32(), total: f64() }), 5), after: i32() }),
    )
    own.root.before.value = -1
    own.root.cells.forEach(({ n, total }, index) => {
      n.value = index
      total.value = index / 2
    })
    own.root.after.value = -2
    expect(other.root.cells.map(({ n, total }) => [n.value, total.value])).toEqual([
      [0, 0],
      [1, 0.5],
      [2, 1],
      [3, 1.5],
      [4, 2],
    ])
    expect([other.root.before.value, other.root.after.value]).toEqual([-1, -2])
  })
})

describe('array: what it passes to its elements', () => {
  test('array initialises, sweeps and recovers every element at its own offset, in order', () => {
    const calls: string[] = []
    const layout = array(spy('a', 4, 8, calls), 2)
    layout.initialize(region, 128)
    layout.sweep(region, 128, 5 as PeerId)
    layout.recover?.(region, 128)
    expect(calls).toEqual([
      'initialize a 128',
      'initialize a 136',
      'sweep a 128 5',
      'sweep a 136 5',
      'recover a 128',
      'recover a 136',
    ])
  })

  test('array recovers if its elements have nothing to recover', () => {
    expect(() => array(u32(), 2).recover?.(region, 0)).not.toThrow()
  })

  test('array gives back what a dead peer held of any element', () => {
    const [own, other] = attach(array(mutex(), 3))
    for (const lock of other.root) lock.lockSync()
    own.declareDead(other.peers.self)
    expect(own.root.map((lock) => lock.tryLock()?.ownerDied)).toEqual([true, true, true])
  })

  test('array.backlog has the pairs of every element, where they lie', () => {
    const queue: Layout<string> = { ...spy('q', 16, 8), backlog: [[0, 8]] }
    const layout = struct({ a: u32(), queues: array(struct({ b: u32(), queue }), 2) })
    expect(layout.backlog).toEqual([
      [16, 24],
      [40, 48],
    ])
  })

  test('array tells each element its path: after that of the array, and alone if the array is the root', () => {
    const paths: (string | undefined)[] = []
    const layout = {
      ...spy('a', 4, 4),
      attach: (_region: unknown, _at: number, path?: string) => void paths.push(path),
    }
    struct({ orders: array(layout, 2) }).attach(region, 0)
    array(struct({ ring: layout }), 1).attach(region, 0)
    array(array(layout, 1), 2).attach(region, 0)
    expect(paths).toEqual(['orders[0]', 'orders[1]', '[0].ring', '[0][0]', '[1][0]'])
  })

  test('array gives a frozen array', () => {
    const { root } = HeapRegion.create(array(u32(), 2))
    expect([Array.isArray(root), Object.isFrozen(root)]).toEqual([true, true])
  })
})

test('array.signature names the length and the element', () => {
  expect(struct({ a: array(array(u32(), 2), 3) }).signature).toBe('struct{a:array(length=3){array(length=2){u32}}}')
})

describe('array: refused', () => {
  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 2 ** 30 + 1])(
    'array refuses the length %s',
    (length) => {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => array(u32(), length))
      expect(() => array(u32(), length)).toThrow(IsthmusRangeError)
    },
  )

  test('array takes the most elements that a region could hold', () => {
    expect(array(u32(), 2 ** 30).byteLength).toBe(2 ** 32)
  })

  test('array refuses what is no layout', () => {
    // @ts-expect-error what makes a layout is none
    expect(() => array(f64, 2)).toThrow(IsthmusTypeError)
    // @ts-expect-error nor is a number
    expect(() => array(4, 2)).toThrow(/^Making an array: got 4, not a layout/)
  })
})
