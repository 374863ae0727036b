import { readFileSync } from 'node:fs'
import { serialize } from 'node:v8'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type Codec, spscRing } from '../src/index.js'
import { structured } from '../src/structured.js'
import { createRing } from './support/ring-memory.js'

interface Order {
  readonly at: Date
  readonly items: Map<string, bigint>
  readonly pixels: Float32Array
  self?: Order
}

describe('structured', () => {
  test('carries what the structured clone algorithm copies, through a ring', () => {
    const { ring } = createRing({ capacityBytes: 1024, codec: structured<Order>() })
    const order: Order = { at: new Date(5), items: new Map([['tea', 2n ** 70n]]), pixels: Float32Array.of(1.5, 2) }
    order.self = order
    ring.producer().trySend(order)
    const received = ring.consumer().tryReceive()
    expect(received).toEqual(order)
    expect(received?.self).toBe(received)
    expect(received?.pixels.buffer).toBeInstanceOf(ArrayBuffer)
    expectTypeOf(structured<Order>()).toEqualTypeOf<Codec<Order>>()
  })

  test('its name contains the version of V8’s format', () => {
    const { signature } = spscRing({ capacityBytes: 64, codec: structured<unknown>() })
    expect(signature).toContain(`,codec=structured@${serialize(0)[1]})`)
  })

  test.each([
    ['a function', () => {}],
    ['a symbol', Symbol('s')],
    ['a SharedArrayBuffer', new SharedArrayBuffer(8)],
  ])('throws for %s, and nothing is sent', (_what, value) => {
    const { ring } = createRing<unknown>({ capacityBytes: 64, codec: structured() })
    const producer = ring.producer()
    expect(() => producer.trySend({ value })).toThrow(/could not be cloned/)
    expect(ring.consumer().tryReceive()).toBeUndefined()
    expect(producer.trySend(5)).toBe(true)
  })

  test('throws for bytes that V8 did not write, and the message counts as received', () => {
    const { ring } = createRing<unknown>({
      capacityBytes: 64,
      codec: { ...structured(), encode: () => new Uint8Array(3) },
    })
    ring.producer().trySend(0)
    const consumer = ring.consumer()
    expect(() => consumer.tryReceive()).toThrow(/deserialize/)
    expect(consumer.tryReceive()).toBeUndefined()
  })

  test('it alone imports a Node.js module: the main entry runs in browsers', () => {
    const importsOf = (file: string) => {
      const built = readFileSync(new URL(`../dist/${file}`, import.meta.url), 'utf8')
      return [...built.matchAll(/from ?"([^"]+)"/g)].map(([, from]) => from)
    }
    expect(importsOf('structured.js')).toEqual([expect.stringMatching(/^(node:)?v8$/)])
    expect(new Set(importsOf('index.js'))).toEqual(new Set(['@isthmus/sync', '@isthmus/sync/internal']))
  })
})
