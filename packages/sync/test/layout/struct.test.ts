import { describe, expect, test } from 'vitest'
import {
  bytes,
  f64,
  HeapRegion,
  IsthmusTypeError,
  i32,
  type Layout,
  type PeerId,
  struct,
  u32,
} from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'
import { spy } from '../support/spy-layout.js'

describe('struct: places', () => {
  test('struct puts each field at the next offset of its alignment', () => {
    const layout = struct({
      a: spy('a', 1, 1),
      b: spy('b', 4, 4),
      c: spy('c', 3, 1),
      d: spy('d', 8, 128),
      e: spy('e', 1, 1),
    })
    const region = HeapRegion.create(struct({ only: i32() }))
    expect(layout.attach(region, 1024)).toEqual({ a: 'a@1024', b: 'b@1028', c: 'c@1032', d: 'd@1152', e: 'e@1160' })
  })

  test('struct has the alignment of its widest field and a length that is a multiple of it', () => {
    const layout = struct({ a: u32(), b: f64(), c: bytes(1) })
    expect([layout.byteAlignment, layout.byteLength]).toEqual([8, 24])
  })

  test('struct inside a struct is placed as a whole', () => {
    const inner = struct({ x: spy('x', 4, 4), y: spy('y', 8, 64) })
    const layout = struct({ a: spy('a', 1, 1), inner })
    const region = HeapRegion.create(struct({ only: i32() }))
    expect(layout.attach(region, 0)).toEqual({ a: 'a@0', inner: { x: 'x@64', y: 'y@128' } })
    expect(layout.byteLength).toBe(192)
  })

  test('struct fields do not overlap in memory', () => {
    const { root } = HeapRegion.create(struct({ a: i32(), b: f64(), c: u32(), d: bytes(3), e: i32() }))
    root.a.value = -1
    root.b.value = 0.5
    root.c.value = 0xffffffff
    root.d.fill(9)
    root.e.value = -2
    expect([root.a.value, root.b.value, root.c.value, [...root.d], root.e.value]).toEqual([
      -1,
      0.5,
      0xffffffff,
      [9, 9, 9],
      -2,
    ])
  })
})

describe('struct: what it passes to its fields', () => {
  test('struct initialises, sweeps and recovers every field at its own offset, in order', () => {
    const calls: string[] = []
    const layout = struct({ a: spy('a', 4, 4, calls), b: spy('b', 8, 8, calls) })
    const region = HeapRegion.create(struct({ only: i32() }))
    layout.initialize(region, 128)
    layout.sweep(region, 128, 5 as PeerId)
    layout.recover?.(region, 128)
    expect(calls).toEqual([
      'initialize a 128',
      'initialize b 136',
      'sweep a 128 5',
      'sweep b 136 5',
      'recover a 128',
      'recover b 136',
    ])
  })

  test('struct recovers if a field has nothing to recover', () => {
    const calls: string[] = []
    const layout = struct({ plain: u32(), b: spy('b', 4, 4, calls) })
    layout.recover?.(HeapRegion.create(struct({ only: i32() })), 0)
    expect(calls).toEqual(['recover b 4'])
  })

  test('struct.backlog moves the pairs of its fields to their offsets', () => {
    const queue = (name: string): Layout<string> => ({ ...spy(name, 16, 8), backlog: [[0, 8]] })
    const layout = struct({ a: u32(), q: queue('q'), inner: struct({ b: u32(), r: queue('r') }) })
    expect(layout.backlog).toEqual([
      [8, 16],
      [32, 40],
    ])
  })

  test('struct gives a frozen root', () => {
    expect(Object.isFrozen(HeapRegion.create(struct({ a: u32() })).root)).toBe(true)
  })
})

describe('struct: signature', () => {
  test('struct.signature names every field and what it is', () => {
    expect(struct({ a: u32(), inner: struct({ b: f64() }) }).signature).toBe('struct{a:u32,inner:struct{b:f64}}')
  })

  test('struct.signature differs if names, order or kinds differ', () => {
    const layouts: Layout<unknown>[] = [
      struct({ a: u32(), b: u32() }),
      struct({ b: u32(), a: u32() }),
      struct({ a: u32(), b: i32() }),
      struct({ a: struct({ b: u32() }), b: u32() }),
      struct({ 'a:u32,b': u32() }),
      struct({ '"a:u32,b"': u32() }),
    ]
    expect(new Set(layouts.map(({ signature }) => signature)).size).toBe(layouts.length)
  })
})

describe('struct: refused', () => {
  test.each(['0', '1', '42', '4294967295', '18446744073709551616'])(
    'struct refuses the key "%s" at run time',
    (key) => {
      const fields: Record<string, Layout<unknown>> = { name: u32(), [key]: u32() }
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct(fields))
      expect(() => struct(fields)).toThrow(IsthmusTypeError)
    },
  )

  test.each(['a1', '1a', '1.5', '', ' 1', '__proto__'])(
    'struct takes the key "%s", which JavaScript does not move',
    (key) => {
      const fields: Record<string, Layout<unknown>> = Object.fromEntries([
        [key, u32()],
        ['last', u32()],
      ])
      expect(Object.keys(HeapRegion.create(struct(fields)).root)).toEqual([key, 'last'])
    },
  )

  test('struct refuses to have no field', () => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct({}))
  })
})
