import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type Attached,
  array,
  bytes,
  type Float64Field,
  f64,
  HeapRegion,
  type Int32Field,
  type Int64Field,
  i32,
  i64,
  type Layout,
  struct,
  type Uint32Field,
  u32,
  words,
} from '../../src/index.js'
import { expectCode } from '../support/expect-code.js'

describe('struct: inferred types', () => {
  test('struct infers the type of each field', () => {
    const layout = struct({ a: i32(), b: u32(), c: i64(), d: f64(), e: bytes(1), f: words(1) })
    interface Root {
      readonly a: Int32Field
      readonly b: Uint32Field
      readonly c: Int64Field
      readonly d: Float64Field
      readonly e: Uint8Array
      readonly f: Int32Array
    }
    expectTypeOf<Attached<typeof layout>>().toEqualTypeOf<Root>()
    expectTypeOf(HeapRegion.create(layout).root).toEqualTypeOf<Root>()
  })

  test('struct infers the type of nested structs', () => {
    const layout = struct({ inner: struct({ total: f64() }) })
    expectTypeOf<Attached<typeof layout>['inner']['total']['value']>().toEqualTypeOf<number>()
  })

  test('array infers the type of its elements, also in a struct and of structs', () => {
    const layout = struct({ tills: array(struct({ total: f64() }), 3), grid: array(array(u32(), 2), 2) })
    interface Root {
      readonly tills: readonly { readonly total: Float64Field }[]
      readonly grid: readonly (readonly Uint32Field[])[]
    }
    expectTypeOf<Attached<typeof layout>>().toEqualTypeOf<Root>()
    expectTypeOf(array(f64(), 1)).toEqualTypeOf<Layout<readonly Float64Field[]>>()
  })

  test('array has a root that cannot be assigned to', () => {
    const { root } = HeapRegion.create(array(i32(), 2))
    expect(() => {
      // @ts-expect-error the elements of a root are read-only
      root[0] = root[1]
    }).toThrow(TypeError)
  })

  test('Attached of something that is no layout is never', () => {
    expectTypeOf<Attached<{ readonly signature: string }>>().toEqualTypeOf<never>()
  })

  test('HeapRegion.attach gives what HeapRegion.create gives', () => {
    const layout = struct({ total: f64() })
    const region = HeapRegion.create(layout)
    expectTypeOf(HeapRegion.attach(region.handle, layout)).toEqualTypeOf(region)
  })

  test('i64 takes and gives BigInts only', () => {
    const { root } = HeapRegion.create(i64())
    expectTypeOf(root.value).toEqualTypeOf<bigint>()
    // @ts-expect-error a number is no BigInt
    expect(() => root.add(1)).toThrow(TypeError)
  })
})

describe('struct: refused by the types', () => {
  test('struct refuses keys that read as integers', () => {
    // @ts-expect-error a number as the key
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct({ 0: f64() }))
    // @ts-expect-error a string that reads as an integer
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct({ '17': f64() }))
    // @ts-expect-error among others
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct({ name: f64(), 1: u32() }))
    // @ts-expect-error inside another struct
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => struct({ inner: struct({ 2: u32() }) }))
  })

  test('struct refuses what is no layout', () => {
    // @ts-expect-error a number is no layout
    expect(() => struct({ b: 4 })).toThrow(/at its field "b": got 4, not a layout/)
    // @ts-expect-error nor is what makes one
    expect(() => HeapRegion.create(f64)).toThrow(/got the function f64, not a layout/)
    // @ts-expect-error nor is nothing
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => HeapRegion.create(undefined))
  })

  test('struct has a root that cannot be assigned to', () => {
    const { root } = HeapRegion.create(struct({ a: i32(), b: i32() }))
    expect(() => {
      // @ts-expect-error the fields of a root are read-only
      root.a = root.b
    }).toThrow(TypeError)
  })

  test('struct has no field that was not written down', () => {
    const { root } = HeapRegion.create(struct({ a: i32() }))
    // @ts-expect-error there is no b
    expect(root.b).toBeUndefined()
  })

  test('Layout<A> does not stand for Layout<B>', () => {
    // @ts-expect-error a word is no floating-point number
    const layout: Layout<Float64Field> = i32()
    expect(layout.signature).toBe('i32')
  })
})
