import { HeapRegion, IsthmusRangeError, IsthmusTypeError, struct } from '@isthmus/sync'
import { planHeader } from '@isthmus/sync/internal'
import { describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { json, latest, utf8 } from '../../src/index.js'
import { nextVersion, slotOfVersion, VERSION_MAX } from '../../src/latest/layout.js'
import { createLatest, filled, LatestWords } from '../support/latest-memory.js'

describe('latest', () => {
  it.each([{ byteLength: -1 }, { byteLength: 1.5 }, { byteLength: 2 ** 30 + 1 }, { byteLength: '8' }, {}])(
    'refuses a byteLength as in %o',
    (options) => {
      expect(expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => latest(options as never))).toBeInstanceOf(
        IsthmusRangeError,
      )
    },
  )

  it.each([0, 1, 257, 2.5, '4', null])('refuses %o slots', (slots) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => latest({ byteLength: 8, slots: slots as never }))
  })

  it('refuses a codec without its methods, and options that are none', () => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => latest({ byteLength: 8, codec: {} as never }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => latest(undefined as never))
  })

  it('has all that decides its bytes in its signature', () => {
    expect(latest({ byteLength: 8 }).signature).toBe('latest@1(byteLength=8,slots=4)')
    expect(latest({ byteLength: 9, slots: 2, codec: utf8 }).signature).toBe('latest@1(byteLength=9,slots=2,codec=utf8)')
    expect(latest({ byteLength: 8 }).byteLength).toBe(384 + 4 * 128)
    expect(latest({ byteLength: 113, slots: 2 }).byteLength).toBe(384 + 2 * 256)
  })

  it('can be part of a struct', () => {
    const { root } = HeapRegion.create(
      struct({ low: latest({ byteLength: 8, codec: utf8 }), high: latest({ byteLength: 8 }) }),
    )
    root.low.writer().write('low')
    root.high.writer().write(filled(2, 8))
    expect(root.low.read()?.value).toBe('low')
    expect(root.high.read()?.value).toEqual(filled(2, 8))
    expect(() => root.low.writer()).toThrow('the latest value "low" of')
  })
})

describe('Reading', () => {
  it('gives nothing before the first write, and then the newest value and its version', () => {
    const { cell, attach } = createLatest({ byteLength: 8 })
    const reader = attach().root
    expect(reader.read()).toBeUndefined()
    expect(reader.version).toBe(0)
    const writer = cell.writer()
    expect(writer.write(Uint8Array.of(1))).toBe(1)
    expect(writer.write(Uint8Array.of(2, 3))).toBe(2)
    expect(reader.read()).toEqual({ value: Uint8Array.of(2, 3), version: 2 })
    expect(reader.read()).toEqual({ value: Uint8Array.of(2, 3), version: 2 })
    expect(reader.version).toBe(2)
  })

  it.each([0, 1, 63, 64, 65, 256, 257, 4096, 4097, 8192, 100_000])('gives a private copy of %i bytes', (byteLength) => {
    const { cell } = createLatest({ byteLength: 100_000, slots: 2 })
    const writer = cell.writer()
    const value = Uint8Array.from({ length: byteLength }, (_, at) => at * 7)
    writer.write(value)
    const read = cell.read()
    expect(read?.value).toEqual(value)
    for (let time = 0; time < 4; time++) writer.write(filled(255, 100_000))
    expect(read?.value).toEqual(value)
  })

  it('uses the codec', () => {
    const { cell } = createLatest({ byteLength: 64, codec: json<{ celsius: number }>() })
    cell.writer().write({ celsius: 21.5 })
    expect(cell.read()).toEqual({ value: { celsius: 21.5 }, version: 1 })
    const { value } = cell.read({ into: new Uint8Array(64) }) ?? {}
    expect(utf8.decode(value as Uint8Array)).toBe('{"celsius":21.5}')
  })

  it('copies into an array that is long enough', () => {
    const { cell } = createLatest({ byteLength: 8 })
    const into = filled(9, 4)
    expect(cell.read({ into })).toBeUndefined()
    const writer = cell.writer()
    writer.write(Uint8Array.of(1, 2))
    const read = cell.read({ into })
    expect(read).toEqual({ value: Uint8Array.of(1, 2), version: 1 })
    expect(read?.value.buffer).toBe(into.buffer)
    expect(into).toEqual(Uint8Array.of(1, 2, 9, 9))
    writer.write(filled(3, 5))
    expect(expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => cell.read({ into })).message).toContain('has 5 bytes')
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => cell.read({ into: [] as never }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => cell.read(4 as never))
  })

  it('shows a value in place, and says that it was whole', () => {
    const { cell, region } = createLatest({ byteLength: 8 })
    expect(cell.readInPlace(() => 1)).toBeUndefined()
    cell.writer().write(Uint8Array.of(4, 5, 6))
    const seen = cell.readInPlace((bytes, byteOffset, byteLength) => {
      expect(bytes).toBe(region.bytes)
      expect(byteOffset % 8).toBe(0)
      return [...bytes.subarray(byteOffset, byteOffset + byteLength)]
    })
    expect(seen).toEqual({ value: [4, 5, 6], version: 1, isWhole: true })
    expect(() =>
      cell.readInPlace(() => {
        throw new Error('of the program')
      }),
    ).toThrow('of the program')
    expect(expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => cell.readInPlace(undefined as never))).toBeInstanceOf(
      IsthmusTypeError,
    )
  })
})

describe('Writing', () => {
  it('writes up to byteLength bytes', () => {
    const { cell } = createLatest({ byteLength: 8 })
    const writer = cell.writer()
    writer.write(filled(1, 8))
    const error = expectCode('ERR_ISTHMUS_MESSAGE_TOO_LARGE', () => writer.write(filled(2, 9)))
    expect(error.message).toContain('9 bytes, of 8')
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => writer.write('text' as never))
    expect(cell.read()).toEqual({ value: filled(1, 8), version: 1 })
    const empty = createLatest({ byteLength: 0 }).cell
    expect(empty.writer().write(new Uint8Array())).toBe(1)
    expect(empty.read()).toEqual({ value: new Uint8Array(), version: 1 })
  })

  it('writes in place', () => {
    const { cell } = createLatest({ byteLength: 8 })
    const writer = cell.writer()
    const claim = writer.claim()
    expect(claim.byteLength).toBe(8)
    claim.set([1, 2, 3])
    expect(cell.read()).toBeUndefined()
    expect(writer.commit(3)).toBe(1)
    expect(cell.read()).toEqual({ value: Uint8Array.of(1, 2, 3), version: 1 })
    writer.claim().fill(7)
    expect(writer.commit()).toBe(2)
    expect(cell.read()).toEqual({ value: filled(7, 8), version: 2 })
    writer.claim().fill(8)
    writer.abort()
    expect(cell.read()).toEqual({ value: filled(7, 8), version: 2 })
    expect(writer.claim()).not.toBe(claim)
    writer.abort()
  })

  it('gives the same array again after as many writes as there are slots', () => {
    const { cell } = createLatest({ byteLength: 8, slots: 3 })
    const writer = cell.writer()
    const claims = Array.from({ length: 7 }, () => {
      const claim = writer.claim()
      writer.commit()
      return claim
    })
    expect(claims[3]).toBe(claims[0])
    expect(claims[6]).toBe(claims[0])
    expect(new Set(claims).size).toBe(3)
  })

  it('refuses calls in the wrong order, and lengths that are none', () => {
    const { cell } = createLatest({ byteLength: 8 })
    const writer = cell.writer()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => writer.commit())
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => writer.abort())
    writer.claim().fill(1)
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => writer.claim())
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => writer.write(filled(2, 1)))
    for (const length of [-1, 9, 0.5, Number.NaN, '8', null]) {
      expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => writer.commit(length as never))
    }
    expect(writer.commit(0)).toBe(1)
    expect(cell.read()?.value).toEqual(new Uint8Array())
  })
})

describe('The role of the writer', () => {
  it('belongs to one peer at a time', () => {
    const { cell, attach } = createLatest({ byteLength: 8 })
    const writer = cell.writer()
    const other = attach().root
    expect(other.tryWriter()).toBeUndefined()
    expect(expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => other.writer()).message).toContain('Becoming the writer of')
    writer.write(filled(1, 8))
    writer.claim().fill(9)
    writer.close()
    writer.close()
    for (const call of [
      () => writer.write(filled(2, 8)),
      () => writer.claim(),
      () => writer.commit(),
      () => writer.abort(),
    ]) {
      expectCode('ERR_ISTHMUS_CLOSED', call)
    }
    expect(other.read()).toEqual({ value: filled(1, 8), version: 1 })
    const next = other.tryWriter()
    expect(next?.write(filled(3, 8))).toBe(2)
    expect(cell.read()).toEqual({ value: filled(3, 8), version: 2 })
    expect(cell.describe()).toMatchObject({ byteLength: 8, slots: 4, version: 2, waitingReaders: [] })
    expect(cell.describe().writer).toMatchObject({ state: 'held', epoch: 2 })
  })

  it('is given back at the end of a block, and with the region', () => {
    const { cell, attach } = createLatest({ byteLength: 8 })
    {
      using writer = cell.writer()
      writer.write(filled(1, 8))
    }
    const region = attach()
    const { root } = region
    const writer = root.writer()
    region.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => writer.write(filled(2, 8)))
    expectCode('ERR_ISTHMUS_CLOSED', () => root.read())
    expectCode('ERR_ISTHMUS_CLOSED', () => root.version)
    expectCode('ERR_ISTHMUS_CLOSED', () => root.writer())
    expectCode('ERR_ISTHMUS_CLOSED', () => root.describe())
    expect(cell.describe().writer.state).toBe('closed')
    expect(cell.read()?.value).toEqual(filled(1, 8))
  })

  it.each(['before it has begun', 'in the midst of a write', 'with the stamp', 'after the value'])(
    'goes to a successor if the writer dies %s',
    (when) => {
      const { region, cell, memory, attach } = createLatest({ byteLength: 8, slots: 2 })
      const dying = attach()
      const writer = dying.root.writer()
      writer.write(filled(1, 8))
      if (when !== 'before it has begun') writer.claim().fill(99)
      if (when === 'with the stamp') memory.setStamp(2, 2)
      if (when === 'after the value') writer.commit()
      region.declareDead(dying.peers.self)
      const hasWritten = when === 'after the value'
      expect(cell.describe().writer.state).toBe('died')
      expect(cell.read()).toEqual({ value: filled(hasWritten ? 99 : 1, 8), version: hasWritten ? 2 : 1 })
      const successor = cell.writer()
      expect(cell.read()?.version).toBe(hasWritten ? 2 : 1)
      expect(successor.write(filled(5, 8))).toBe(hasWritten ? 3 : 2)
      expect(cell.read()).toEqual({ value: filled(5, 8), version: hasWritten ? 3 : 2 })
    },
  )
})

describe('Versions', () => {
  it.each([2, 3, 4, 5, 7, 255, 256])('go round %i slots without a break, and never are 0', (slots) => {
    let version = VERSION_MAX - 300
    for (let step = 0; step < 900; step++) {
      const next = nextVersion(version, slots)
      expect(next).toBeGreaterThan(0)
      expect(next).toBeLessThanOrEqual(VERSION_MAX)
      expect(slotOfVersion(next, slots)).toBe((slotOfVersion(version, slots) + 1) % slots)
      version = next
    }
    expect(slotOfVersion(-1, slots)).toBe(VERSION_MAX % slots)
  })

  it.each([2, 3, 4, 5])('wrap while values are written to %i slots', async (slots) => {
    const { cell, attach } = createLatest({ byteLength: 8, slots }, VERSION_MAX - 3)
    const reader = attach().root
    const writer = cell.writer()
    let last = reader.version
    for (let number = 1; number < 12; number++) {
      const version = writer.write(filled(number, 8))
      expect(reader.read()).toEqual({ value: filled(number, 8), version })
      expect(await reader.next({ after: last, timeoutMs: 1000 })).toEqual({ value: filled(number, 8), version })
      last = version
    }
    expect(last).toBeLessThan(100)
  })
})

describe('After a crash of the machine', () => {
  function afterCrash(damage: (memory: LatestWords) => void) {
    const layout = latest({ byteLength: 8, slots: 3 })
    const region = HeapRegion.create(layout)
    const { rootByteOffset } = planHeader(layout)
    const writer = region.root.writer()
    for (let number = 1; number < 6; number++) writer.write(filled(number, 8))
    writer.close()
    damage(new LatestWords(region, rootByteOffset, { byteLength: 8, slots: 3 }))
    layout.recover?.(region, rootByteOffset)
    return region.root
  }

  it('what is consistent stays', () => {
    expect(afterCrash(() => {}).read()).toEqual({ value: filled(5, 8), version: 5 })
  })

  it.each([
    ['its slot is being changed', (memory: LatestWords) => memory.setStamp(5, 0)],
    ['its slot has another stamp', (memory: LatestWords) => memory.setStamp(5, 76)],
    ['its length is impossible', (memory: LatestWords) => memory.setLength(5, 9)],
  ])('the newest whole value is the latest if %s', (_, damage) => {
    const cell = afterCrash(damage)
    expect(cell.read()).toEqual({ value: filled(4, 8), version: 4 })
    expect(cell.writer().write(filled(9, 8))).toBe(5)
    expect(cell.read()).toEqual({ value: filled(9, 8), version: 5 })
  })

  it('nothing was written if no value is whole', () => {
    const cell = afterCrash((memory) => {
      for (const version of [3, 4, 5]) memory.setLength(version, -1)
    })
    expect(cell.read()).toBeUndefined()
    expect(cell.writer().write(filled(9, 8))).toBe(1)
    expect(cell.read()).toEqual({ value: filled(9, 8), version: 1 })
  })
})
