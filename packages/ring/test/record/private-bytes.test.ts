import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test, vi } from 'vitest'

const load = async () => (await import('../../src/record/private-bytes.js')).privateBytes

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

describe('private bytes', () => {
  test('are an array of its own buffer, of exactly this length', async () => {
    const privateBytes = await load()
    for (const byteLength of [0, 1, 4096, 65536]) {
      const bytes = privateBytes(byteLength)
      expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype)
      expect([bytes.byteOffset, bytes.byteLength, bytes.buffer.byteLength]).toEqual([0, byteLength, byteLength])
    }
  })

  test('come from Node.js, which does not fill them with zeros', async () => {
    const allocUnsafeSlow = vi.fn(Buffer.allocUnsafeSlow)
    vi.stubGlobal('Buffer', { allocUnsafeSlow })
    vi.resetModules()
    expect((await load())(100).byteLength).toBe(100)
    expect(allocUnsafeSlow).toHaveBeenLastCalledWith(100)
  })

  test.each([
    ['without Buffer', undefined],
    ['whose Buffer lacks the call', {}],
    [
      'whose ArrayBuffers are of another realm',
      { allocUnsafeSlow: (byteLength: number) => ({ buffer: runInNewContext(`new ArrayBuffer(${byteLength})`) }) },
    ],
  ])('are ordinary ones in a runtime %s', async (_runtime, Buffer) => {
    vi.stubGlobal('Buffer', Buffer)
    vi.resetModules()
    const bytes = (await load())(100)
    expect(bytes.buffer).toBeInstanceOf(ArrayBuffer)
    expect([...bytes]).toEqual(new Array(100).fill(0))
  })
})
