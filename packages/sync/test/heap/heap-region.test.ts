import { describe, expect, test, vi } from 'vitest'
import {
  HeapRegion,
  type HeapRegionHandle,
  IsthmusTypeError,
  i32,
  type Layout,
  type PeerId,
  struct,
  u32,
} from '../../src/index.js'
import { assertOpen, generationOf, MAX_PEERS, planHeader, RETIRED, STATE_WORD, slotOf } from '../../src/internal.js'
import { expectCode } from '../support/expect-code.js'

const layout = struct({ total: u32() })

/** A layout that writes down when it is initialised, attached and swept. */
function spied() {
  const calls: string[] = []
  const sweptPeers: PeerId[] = []
  const spy: Layout<object> = {
    byteLength: 8,
    byteAlignment: 8,
    signature: 'spy',
    initialize: () => void calls.push('initialize'),
    attach: () => {
      calls.push('attach')
      return {}
    },
    sweep: (_region, _byteOffset, peer) => void sweptPeers.push(peer),
  }
  return { spy, calls, sweptPeers }
}

describe('HeapRegion.create and attach', () => {
  test('HeapRegion.attach reaches the same memory through the handle', () => {
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout)
    region.root.total.value = 5
    expect(other.root.total.add(1)).toBe(5)
    expect(region.root.total.value).toBe(6)
  })

  test('HeapRegion.handle survives a structured clone', () => {
    const region = HeapRegion.create(layout)
    region.root.total.value = 7
    expect(HeapRegion.attach(structuredClone(region.handle), layout).root.total.value).toBe(7)
  })

  test('HeapRegion.create initialises once, attach never; the root is attached once, when it is first used', () => {
    const { spy, calls } = spied()
    const region = HeapRegion.create(spy)
    const other = HeapRegion.attach(region.handle, spy)
    expect(calls).toEqual(['initialize'])
    expect(other.root).toBe(other.root)
    expect(calls).toEqual(['initialize', 'attach'])
  })

  test('HeapRegion.create places the root where the header says, after everything else', () => {
    const offsets: number[] = []
    const { spy } = spied()
    const region = HeapRegion.create({ ...spy, initialize: (_region, byteOffset) => void offsets.push(byteOffset) })
    expect(offsets).toEqual([planHeader(spy).rootByteOffset])
    expect(offsets[0] % 128).toBe(0)
    expect(region.bytes.byteLength).toBe(planHeader(spy).byteLength)
    expect(region.words.byteLength).toBe(region.bytes.byteLength)
  })

  test('HeapRegion.attach refuses another layout, and names both', () => {
    const { handle } = HeapRegion.create(layout)
    const other = struct({ total: i32() })
    expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () => HeapRegion.attach(handle, other))
    expect(() => HeapRegion.attach(handle, other)).toThrow(layout.signature)
    expect(() => HeapRegion.attach(handle, other)).toThrow(other.signature)
  })

  test.each([undefined, null, 5, {}, { buffer: new ArrayBuffer(8) }])(
    'HeapRegion.attach refuses %j for a handle',
    (handle) => {
      // @ts-expect-error none of these is a handle
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => HeapRegion.attach(handle, layout))
      // @ts-expect-error none of these is a handle
      expect(() => HeapRegion.attach(handle, layout)).toThrow(IsthmusTypeError)
    },
  )
})

describe('HeapRegion.attach to memory that is not complete', () => {
  function check(code: string, change: (bytes: Uint8Array, words: Int32Array) => void) {
    const { handle } = HeapRegion.create(layout)
    change(new Uint8Array(handle.buffer), new Int32Array(handle.buffer))
    expectCode(code, () => HeapRegion.attach(handle, layout))
  }

  test('HeapRegion in a page that is not isolated says what is missing', () => {
    const { handle } = HeapRegion.create(layout)
    vi.stubGlobal('SharedArrayBuffer', undefined)
    try {
      for (const attempt of [() => HeapRegion.create(layout), () => HeapRegion.attach(handle, layout)]) {
        expect(expectCode('ERR_ISTHMUS_UNSUPPORTED', attempt).message).toMatch(/Cross-Origin-Opener-Policy/)
      }
    } finally {
      vi.unstubAllGlobals()
    }
  })

  test.each([
    [undefined, /its handle has undefined/],
    [{ buffer: new ArrayBuffer(8) }, /its handle has ArrayBuffer where/],
  ])('HeapRegion.attach says what it found instead of a handle: %j', (handle, message) => {
    const attempt = () => HeapRegion.attach(handle as unknown as HeapRegionHandle, layout)
    expect(expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', attempt).message).toMatch(message)
  })

  test('HeapRegion.attach refuses memory that isthmus did not make', () => {
    check('ERR_ISTHMUS_FOREIGN', (bytes) => bytes.fill(0))
    const handle = { isthmus: 'heap-region', buffer: new SharedArrayBuffer(4) } as const
    expectCode('ERR_ISTHMUS_FOREIGN', () => HeapRegion.attach(handle, layout))
  })

  test('HeapRegion.attach refuses another version of the format', () => {
    check('ERR_ISTHMUS_VERSION', (_bytes, words) => {
      words[2] += 1
    })
  })

  test('HeapRegion.attach refuses a region that is not READY', () => {
    check('ERR_ISTHMUS_CORRUPT', (_bytes, words) => {
      words[STATE_WORD] = RETIRED
    })
  })

  test('HeapRegion.attach refuses a region that is too short for its layout', () => {
    const region = HeapRegion.create(layout)
    const { rootByteOffset } = planHeader(layout)
    const buffer = new SharedArrayBuffer(rootByteOffset)
    const words = new Int32Array(buffer)
    words.set(region.words.subarray(0, words.length))
    words[4] = buffer.byteLength
    expect(() => HeapRegion.attach({ isthmus: 'heap-region', buffer }, layout).root.total.value).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_ISTHMUS_(SIZE|CORRUPT)$/) }),
    )
  })
})

describe('HeapRegion.close', () => {
  test('HeapRegion.root is refused after close, and what was attached too', () => {
    const region = HeapRegion.create(layout)
    const { total } = region.root
    expect(region.isClosed).toBe(false)
    region.close()
    expect(region.isClosed).toBe(true)
    expectCode('ERR_ISTHMUS_CLOSED', () => region.root)
    expectCode('ERR_ISTHMUS_CLOSED', () => total.value)
    expectCode('ERR_ISTHMUS_CLOSED', () => region.peers.self)
    expectCode('ERR_ISTHMUS_CLOSED', () => assertOpen(region))
  })

  test('HeapRegion.close leaves the other attachments of the thread alone', () => {
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout)
    region.root.total.value = 3
    region.close()
    expect(other.root.total.value).toBe(3)
    expect(HeapRegion.attach(other.handle, layout).root.total.value).toBe(3)
  })

  test('HeapRegion.close calls its listeners once, while the region can still be used', () => {
    const region = HeapRegion.create(layout)
    const seen: boolean[] = []
    region.onClose(() => void seen.push(region.isClosed))
    const forget = region.onClose(() => void seen.push(true))
    forget()
    region.close()
    region.close()
    expect(seen).toEqual([false])
  })

  test('HeapRegion.close detaches even if a listener throws', () => {
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout)
    const peer = region.peers.self
    region.onClose(() => {
      throw new Error('listener failed')
    })
    expect(() => region.close()).toThrow('listener failed')
    expect([region.isClosed, other.peers.isDead(peer)]).toEqual([true, true])
  })

  test('HeapRegion[Symbol.dispose] closes', () => {
    const region = HeapRegion.create(layout)
    region[Symbol.dispose]()
    expect(region.isClosed).toBe(true)
  })

  test('HeapRegion.close gives the peer slot back', () => {
    const region = HeapRegion.create(layout)
    const first = HeapRegion.attach(region.handle, layout)
    const { self } = first.peers
    first.close()
    const second = HeapRegion.attach(region.handle, layout)
    expect(slotOf(second.peers.self)).toBe(slotOf(self))
    expect(generationOf(second.peers.self)).toBe(generationOf(self) + 1)
  })
})

describe('HeapRegion.peers', () => {
  test('HeapRegion.peers lists every attachment with its process and thread', () => {
    const region = HeapRegion.create(layout, { threadId: 4 })
    const other = HeapRegion.attach(region.handle, layout)
    expect(region.peers.list()).toEqual([
      {
        peer: region.peers.self,
        slot: 0,
        generation: 1,
        pid: process.pid,
        threadId: 4,
        isDead: false,
        canBeWoken: true,
      },
      {
        peer: other.peers.self,
        slot: 1,
        generation: 1,
        pid: process.pid,
        threadId: 0,
        isDead: false,
        canBeWoken: true,
      },
    ])
    expect([region.peers.others(), other.peers.others()]).toEqual([[other.peers.self], [region.peers.self]])
  })

  test('HeapRegion.attach gives out all 128 slots, then throws until one is closed', () => {
    const region = HeapRegion.create(layout)
    const others = Array.from({ length: MAX_PEERS - 1 }, () => HeapRegion.attach(region.handle, layout))
    expectCode('ERR_ISTHMUS_TOO_MANY_PEERS', () => HeapRegion.attach(region.handle, layout))
    const { self } = others[9].peers
    others[9].close()
    expect(slotOf(HeapRegion.attach(region.handle, layout).peers.self)).toBe(slotOf(self))
  })

  test('HeapRegion.declareDead proves the death to all peers, sweeps once, and frees the slot', () => {
    const { spy, sweptPeers } = spied()
    const region = HeapRegion.create(spy)
    const observer = HeapRegion.attach(region.handle, spy)
    const gone = HeapRegion.attach(region.handle, spy).peers.self
    expect(observer.peers.isDead(gone)).toBe(false)
    region.declareDead(gone)
    region.declareDead(gone)
    expect(observer.peers.isDead(gone)).toBe(true)
    expect(sweptPeers).toEqual([gone])
    const successor = HeapRegion.attach(region.handle, spy).peers.self
    expect([slotOf(successor), generationOf(successor)]).toEqual([slotOf(gone), generationOf(gone) + 1])
    region.declareDead(gone)
    expect(observer.peers.isDead(successor)).toBe(false)
  })

  test('HeapRegion.declareDead of a peer that has detached does nothing', () => {
    const { spy, sweptPeers } = spied()
    const region = HeapRegion.create(spy)
    const other = HeapRegion.attach(region.handle, spy)
    const { self } = other.peers
    other.close()
    // What it still held, it gave back itself.
    expect(sweptPeers).toEqual([self])
    region.declareDead(self)
    expect(sweptPeers).toEqual([self])
  })

  test('HeapRegion.declareDead refuses the caller itself, and a closed region', () => {
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout).peers.self
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => region.declareDead(region.peers.self))
    region.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => region.declareDead(other))
  })
})
