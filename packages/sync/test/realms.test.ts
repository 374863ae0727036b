import vm from 'node:vm'
import { describe, expect, test } from 'vitest'
import { HeapRegion, mutex, u32, waitAny } from '../src/index.js'
import { isSharedArrayBuffer, isUint8Array, WAITABLE } from '../src/internal.js'
import { loadCopy, runInNewRealm } from './support/built-package.js'
import { soon, stateOf } from './support/waiting.js'

const other = vm.createContext({})

describe('Values of another realm', () => {
  test('isUint8Array and isSharedArrayBuffer tell the kind of a value, whatever realm it comes from', () => {
    const make = (text: string) => vm.runInContext(text, other)
    expect([make('new Uint8Array(1)'), new Uint8Array(1), Buffer.alloc(1)].map(isUint8Array)).toEqual([
      true,
      true,
      true,
    ])
    expect([make('new SharedArrayBuffer(8)'), new SharedArrayBuffer(8)].map(isSharedArrayBuffer)).toEqual([true, true])
    const others = [
      new Int8Array(1),
      new DataView(new ArrayBuffer(1)),
      new ArrayBuffer(8),
      [],
      null,
      undefined,
      'x',
      5n,
    ]
    const pretenders = [{ [Symbol.toStringTag]: 'Uint8Array', byteLength: 1 }, Object.create(Uint8Array.prototype)]
    const values = [...others, ...pretenders, { [Symbol.toStringTag]: 'SharedArrayBuffer', byteLength: 8 }]
    expect(values.flatMap((value) => [isUint8Array(value), isSharedArrayBuffer(value)])).not.toContain(true)
  })

  test('HeapRegion.attach takes a SharedArrayBuffer of another realm', () => {
    const size = HeapRegion.create(u32()).handle.buffer.byteLength
    const buffer = vm.runInContext(`new SharedArrayBuffer(${size})`, other)
    expect(buffer instanceof SharedArrayBuffer).toBe(false)
    new Uint8Array(buffer).set(new Uint8Array(HeapRegion.create(u32()).handle.buffer))
    const region = HeapRegion.attach({ isthmus: 'heap-region', buffer }, u32())
    region.root.value = 5
    expect(HeapRegion.attach(region.handle, u32()).root.value).toBe(5)
  })

  test('The package works inside of a vm context, on the memory of another realm', async () => {
    const {
      TextDecoder,
      TextEncoder,
      performance,
      setTimeout,
      clearTimeout,
      setInterval,
      clearInterval,
      setImmediate,
    } = globalThis
    const given = {
      TextDecoder,
      TextEncoder,
      performance,
      setTimeout,
      clearTimeout,
      setInterval,
      clearInterval,
      setImmediate,
    }
    const sync = runInNewRealm(given)
    const region = HeapRegion.create(mutex())
    const inside = sync.HeapRegion.attach(region.handle, sync.mutex())
    const guard = region.root.lockSync()
    expect(await inside.root.lock({ timeoutMs: 5 })).toBeUndefined()
    await expect(inside.root.lock({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORT_ERR' })
    const waiting = inside.root.lock()
    expect(await stateOf(waiting)).toBe('pending')
    guard.unlock()
    expect((await soon(waiting)).isHeld).toBe(true)
  })

  test('A vm context without timers is told what is missing', () => {
    const { TextDecoder, TextEncoder } = globalThis
    const sync = runInNewRealm({ TextDecoder, TextEncoder })
    const region = sync.HeapRegion.create(sync.u32())
    region.root.value = 7
    expect(region.root.value).toBe(7)
    expect(() => sync.nowMs()).toThrow(/no performance\.now/)
  })
})

describe('Two copies of the package', () => {
  test('waitAny of one waits for a structure of the other, and EDEADLK knows the thread', async () => {
    const [one, two] = await Promise.all([loadCopy(), loadCopy()])
    expect(one.waitAny).not.toBe(two.waitAny)
    const first = one.HeapRegion.create(one.mutex())
    const second = two.HeapRegion.attach(first.handle, two.mutex())
    const guard = first.root.lockSync()
    expect(() => second.root.lockSync()).toThrow(expect.objectContaining({ code: 'EDEADLK' }))
    const waiting = one.waitAny([second.root])
    expect(await stateOf(waiting)).toBe('pending')
    guard.unlock()
    expect(await soon(waiting)).toEqual([second.root])
    expect(one.WAITABLE).toBe(WAITABLE)
  })

  test('waitAny says so if a structure comes from another version', async () => {
    const foreign = { [Symbol.for('isthmus.waitable@0')]: () => undefined }
    // @ts-expect-error not of this version
    await expect(waitAny([foreign])).rejects.toMatchObject({
      code: 'ERR_ISTHMUS_INVALID_ARGUMENT',
      message: expect.stringContaining('two copies'),
    })
  })
})
