import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Mapper, MapperName } from '../../src/mapping/mapping.js'
import { mapOverlay } from '../../src/mapping/overlay.js'
import { mapView } from '../../src/mapping/view.js'
import { SystemCallError } from '../../src/native/system-error.js'
import { endAllChildren, inChild } from '../support/child.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'
import { mappingsOf } from '../support/processes.js'

const BYTE_LENGTH = 3 * 4096
const MAPPERS: [MapperName, Mapper][] = [
  ['overlay', mapOverlay],
  ['view', mapView],
]
const descriptors: number[] = []

afterEach(async () => {
  for (const fd of descriptors.splice(0)) closeSync(fd)
  await endAllChildren()
  removeEverything()
})

function openFile(): { fd: number; path: string } {
  const path = pathOf(uniqueName())
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600)
  ftruncateSync(fd, BYTE_LENGTH)
  descriptors.push(fd)
  return { fd, path }
}

function readByte(fd: number, byteOffset: number): number {
  const byte = new Uint8Array(1)
  readSync(fd, byte, 0, 1, byteOffset)
  return byte[0]
}

describe('the overlay mapper', () => {
  it('maps the file for `bytes` once, when they are first asked for, and not at all after unmap', () => {
    const { fd, path } = openFile()
    const [used, unused] = [mapOverlay(fd, BYTE_LENGTH), mapOverlay(fd, BYTE_LENGTH)]
    expect(mappingsOf(path)).toBe(2)
    used.bytes[5] = 7
    expect(used.bytes).toBe(used.bytes)
    expect(mappingsOf(path)).toBe(3)
    unused.unmap()
    expect(unused.bytes).toHaveLength(BYTE_LENGTH)
    expect(unused.bytes[5]).toBe(0)
    unused.bytes[5] = 9
    expect([readByte(fd, 5), used.bytes[5]]).toEqual([7, 7])
    expect(mappingsOf(path)).toBe(2)
    used.unmap()
    expect(mappingsOf(path)).toBe(0)
  })

  it('needs no descriptor for `bytes`: the descriptor of the mapping may be closed', () => {
    const { fd } = openFile()
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_RDWR)
    const { bytes } = mapOverlayAndClose(own)
    bytes[BYTE_LENGTH - 1] = 3
    expect(readByte(fd, BYTE_LENGTH - 1)).toBe(3)
  })

  it('has bytes that no transfer can detach', () => {
    const { fd } = openFile()
    const { bytes } = mapOverlay(fd, BYTE_LENGTH)
    try {
      structuredClone(bytes.buffer, { transfer: [bytes.buffer as ArrayBuffer] })
    } catch (error) {
      expect(error).toMatchObject({ name: expect.stringMatching(/DataCloneError|TypeError/) })
    }
    bytes[9] = 4
    expect([bytes.byteLength, readByte(fd, 9)]).toEqual([BYTE_LENGTH, 4])
  })

  it('maps any number of pages, also if they fill no WebAssembly page', () => {
    const { fd } = openFile()
    for (const pages of [1, 15, 16, 17, 33]) {
      const byteLength = pages * 4096
      ftruncateSync(fd, byteLength)
      const { words, bytes, unmap } = mapOverlay(fd, byteLength)
      words[byteLength / 4 - 1] = 0x01020304
      expect([bytes.byteLength, ...bytes.subarray(-4)]).toEqual([byteLength, 4, 3, 2, 1])
      unmap()
      expect(bytes[byteLength - 1]).toBe(0)
    }
  })

  it.each([
    ['without WebAssembly', '--jitless'],
    ['without room for a WebAssembly memory', '--wasm-max-mem-pages=0'],
  ])('%s copies through the shared buffer', async (_, flag) => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, bytes } = await kit.load()
        const segment = Segment.createAnonymous(bytes(300))
        const other = Segment.attach(segment.handle, bytes(300))
        segment.root.set(new Uint8Array(300).fill(7))
        const { mapper } = segment
        const isShared = segment.bytes.buffer === segment.words.buffer
        const received = other.root.slice(298, 300)
        segment.close()
        return { mapper, isShared, received: [...received], left: segment.bytes.some((byte) => byte !== 0) }
      },
      null,
      { execArgv: [flag] },
    )
    expect(seen).toEqual({ mapper: 'overlay', isShared: true, received: [7, 7], left: false })
  })

  it('gives back the resources of thousands of attachments that were closed or forgotten', async () => {
    const { first, last } = await inChild(
      async (kit) => {
        const { Segment, bytes } = await kit.load()
        const layout = bytes(20_000)
        const count = () => [
          kit.fs.readFileSync('/proc/self/maps', 'utf8').split('\n').length,
          kit.fs.readdirSync('/proc/self/fd').length,
        ]
        const churn = async (rounds: number) => {
          for (let round = 0; round < rounds; round++) {
            const segment = Segment.createAnonymous(layout)
            segment.root[7] = round
            if (round % 2 === 0) segment.close()
            if (round % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1))
          }
          await kit.collectGarbage()
        }
        await churn(200)
        const first = count()
        await churn(2000)
        return { first, last: count() }
      },
      null,
      { execArgv: ['--expose-gc'] },
    )
    // V8's own heap maps and unmaps some.
    expect(last[0]).toBeLessThan(first[0] + 200)
    expect(last[1]).toBeLessThan(first[1] + 10)
  })
})

function mapOverlayAndClose(fd: number): { readonly bytes: Uint8Array } {
  const mapping = mapOverlay(fd, BYTE_LENGTH)
  closeSync(fd)
  return mapping
}

describe.each(MAPPERS)('the %s mapper', (name, map) => {
  it('shows the whole file through words and bytes, and says its name', () => {
    const { fd } = openFile()
    const { words, bytes, mapper, address } = map(fd, BYTE_LENGTH)
    expect(mapper).toBe(name)
    expect([words.length * 4, words.byteLength, bytes.byteLength]).toEqual([BYTE_LENGTH, BYTE_LENGTH, BYTE_LENGTH])
    expect(address % 4096).toBe(0)
    expect(bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('has in the file at once what is stored through it, and the other way round', () => {
    const { fd } = openFile()
    const { words, bytes } = map(fd, BYTE_LENGTH)
    Atomics.store(words, 1, 0x04030201)
    bytes[BYTE_LENGTH - 1] = 77
    expect([4, 5, 6, 7, BYTE_LENGTH - 1].map((at) => readByte(fd, at))).toEqual([1, 2, 3, 4, 77])
    writeSync(fd, Uint8Array.of(9, 9, 9, 9), 0, 4, 8192)
    expect(Atomics.load(words, 2048)).toBe(0x09090909)
    expect(bytes[8192]).toBe(9)
  })

  it('supports every atomic operation', () => {
    const { words } = map(openFile().fd, BYTE_LENGTH)
    expect(Atomics.add(words, 3, 5)).toBe(0)
    expect(Atomics.compareExchange(words, 3, 5, 8)).toBe(5)
    expect(Atomics.exchange(words, 3, 1)).toBe(8)
    expect(Atomics.or(words, 3, 6)).toBe(1)
    expect(Atomics.and(words, 3, 3)).toBe(7)
    expect(Atomics.sub(words, 3, 1)).toBe(3)
    expect(Atomics.load(words, 3)).toBe(2)
  })

  it.each(MAPPERS)('shares the bytes with the %s mapper, in both directions', (_, mapOther) => {
    const { fd } = openFile()
    const one = map(fd, BYTE_LENGTH)
    const other = mapOther(fd, BYTE_LENGTH)
    expect(one.address).not.toBe(other.address)
    Atomics.store(one.words, 1000, 123)
    expect(Atomics.load(other.words, 1000)).toBe(123)
    other.bytes.set([1, 2, 3], 5001)
    expect([...one.bytes.subarray(5000, 5005)]).toEqual([0, 1, 2, 3, 0])
  })

  it('reads zeros after unmap, keeps later stores to itself, and never faults', () => {
    const { fd } = openFile()
    const { words, bytes, unmap } = map(fd, BYTE_LENGTH)
    bytes.fill(0x55)
    unmap()
    expect(bytes.every((byte) => byte === 0)).toBe(true)
    expect(words.every((word) => word === 0)).toBe(true)
    bytes.fill(0x66)
    Atomics.store(words, 0, 1)
    expect([0, 4096, BYTE_LENGTH - 1].map((at) => readByte(fd, at))).toEqual([0x55, 0x55, 0x55])
  })

  it('is gone from the process with unmap, not with a later collection', () => {
    const { fd, path } = openFile()
    const first = map(fd, BYTE_LENGTH)
    const second = map(fd, BYTE_LENGTH)
    expect(mappingsOf(path)).toBe(2)
    first.unmap()
    expect(mappingsOf(path)).toBe(1)
    second.bytes[0] = 1
    first.unmap()
    second.unmap()
    expect(mappingsOf(path)).toBe(0)
    expect(readByte(fd, 0)).toBe(1)
  })

  it('reports what cannot be mapped', () => {
    const attempt = () => map(123456, BYTE_LENGTH)
    expect(attempt).toThrow(SystemCallError)
    expect(attempt).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'mmap' }))
  })

  it('keeps the memory while only `bytes` or only `words` is held, and gives it back after', async () => {
    const seen = await inChild(
      async (kit, { name, mapper }) => {
        const { Segment, struct, u32 } = await kit.load()
        const path = `/dev/shm${name}`
        const count = (directory: string): number => {
          if (directory === 'maps') return kit.fs.readFileSync('/proc/self/maps', 'utf8').split(path).length - 1
          return kit.fs.readdirSync('/proc/self/fd').filter((fd) => {
            try {
              return kit.fs.readlinkSync(`/proc/self/fd/${fd}`) === path
            } catch {
              return false
            }
          }).length
        }
        const layout = struct({ count: u32() })
        Segment.create(name, layout).close()
        const seen: { [held: string]: number[] } = {}
        const views = new Map<string, Uint8Array | Int32Array>()
        for (const held of ['bytes', 'words'] as const) {
          // In functions of their own, so that nothing else stays on the stack.
          ;(() => views.set(held, Segment.open(name, layout, { mapper })[held]))()
          await kit.collectGarbage()
          ;(() => {
            // Memory that was unmapped too early would be reused here.
            const churn = Array.from({ length: 50 }, () => new Uint8Array(new SharedArrayBuffer(16384)).fill(255))
            const view = views.get(held)
            if (view === undefined || churn.length === 0) throw new Error('The view is gone')
            const last = view.length - 1
            view[last] = 5
            const file = kit.fs.readFileSync(path)
            seen[held] = [file[last * view.BYTES_PER_ELEMENT], count('maps'), count('fd')]
          })()
          views.clear()
        }
        await kit.collectGarbage()
        return { ...seen, nothing: [count('maps'), count('fd')] }
      },
      { name: uniqueName(), mapper: name },
      { execArgv: ['--expose-gc'] },
    )
    // The byte in the file; the number of mappings; the number of descriptors.
    expect(seen).toEqual({ bytes: [5, 1, 0], words: [5, 1, 0], nothing: [0, 0] })
  })
})

describe('the overlay mapper', () => {
  it('gives a true SharedArrayBuffer, as long as it can ever be, and a plain buffer for copies', () => {
    const { words, bytes } = mapOverlay(openFile().fd, BYTE_LENGTH)
    const buffer = words.buffer as SharedArrayBuffer
    expect(buffer).toBeInstanceOf(SharedArrayBuffer)
    expect([buffer.byteLength, buffer.maxByteLength]).toEqual([BYTE_LENGTH, BYTE_LENGTH])
    expect(bytes.buffer).toBeInstanceOf(ArrayBuffer)
    expect(Atomics.wait(words, 0, 1, 0)).toBe('not-equal')
  })

  it('shows the same bytes through both buffers', () => {
    const { words, bytes } = mapOverlay(openFile().fd, BYTE_LENGTH)
    words[1024] = 0x01020304
    expect([...bytes.subarray(4096, 4100)]).toEqual([4, 3, 2, 1])
    bytes[0] = 200
    expect(Atomics.load(words, 0)).toBe(200)
  })
})

describe('the view mapper', () => {
  it('gives a plain ArrayBuffer', () => {
    const { words, bytes } = mapView(openFile().fd, BYTE_LENGTH)
    expect(words.buffer).toBeInstanceOf(ArrayBuffer)
    expect(bytes.buffer).toBe(words.buffer)
  })
})
