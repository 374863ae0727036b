import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import type { LatestWriter } from '../../src/index.js'
import { afterLoad } from '../support/atomics-hook.js'
import { createLatest, filled, type LatestSetup } from '../support/latest-memory.js'

const { store, load } = Atomics
afterEach(() => Object.assign(Atomics, { store }))

/** How many atomic loads an action makes. */
function loadsOf(action: () => unknown): number {
  let loads = 0
  const before = Atomics.load
  Atomics.load = ((array: Int32Array, at: number) => {
    loads++
    return load(array, at)
  }) as typeof Atomics.load
  action()
  Atomics.load = before
  return loads
}

/** Acts after the nth Atomics store to this word: what another agent does between two steps of a write. */
function afterStore(words: Int32Array, index: number, nth: number, act: () => void): void {
  const byteOffset = words.byteOffset + index * 4
  let left = nth
  Atomics.store = ((array: Int32Array, at: number, value: number) => {
    const stored = store(array, at, value)
    const isHere = array.byteOffset + at * 4 === byteOffset && array.buffer.byteLength === words.buffer.byteLength
    if (isHere && --left === 0) act()
    return stored
  }) as typeof Atomics.store
}

function writeSome(writer: LatestWriter, count: number, from: number): void {
  for (let step = 0; step < count; step++) writer.write(filled(from + step, 8))
}

describe('A reader that is overtaken', () => {
  it.each([
    ['after it has loaded the version', 1, 'current'],
    ['after it has looked at the stamp', 1, 'stamp'],
  ] as const)('%s begins anew', (_, nth, word) => {
    const { cell, memory, attach } = createLatest({ byteLength: 8, slots: 2 })
    const writer = attach().root.writer()
    writeSome(writer, 1, 1)
    afterLoad(memory.words, word === 'current' ? memory.currentIndex : memory.stampIndex(1), nth, () =>
      writeSome(writer, 3, 10),
    )
    expect(cell.read()).toEqual({ value: filled(12, 8), version: 4 })
  })

  it('keeps its copy if fewer values are written than would reach its slot', () => {
    const { cell, memory, attach } = createLatest({ byteLength: 8, slots: 4 })
    const writer = attach().root.writer()
    writeSome(writer, 1, 1)
    afterLoad(memory.words, memory.stampIndex(1), 1, () => writeSome(writer, 3, 10))
    expect(cell.read()).toEqual({ value: filled(1, 8), version: 1 })
    expect(cell.read()).toEqual({ value: filled(12, 8), version: 4 })
  })

  it('is told so by readInPlace', () => {
    const { cell, attach } = createLatest({ byteLength: 8, slots: 2 })
    const writer = attach().root.writer()
    writeSome(writer, 1, 1)
    const overtaken = cell.readInPlace((bytes, byteOffset) => {
      const before = bytes[byteOffset]
      writeSome(writer, 2, 10)
      return [before, bytes[byteOffset]]
    })
    expect(overtaken).toEqual({ value: [1, 11], version: 1, isWhole: false })
    const once = cell.readInPlace(() => writeSome(writer, 1, 20))
    expect(once).toMatchObject({ version: 3, isWhole: true })
  })

  it('is told so if the slot is only claimed', () => {
    const { cell, attach } = createLatest({ byteLength: 8, slots: 2 })
    const writer = attach().root.writer()
    writeSome(writer, 1, 1)
    const overtaken = cell.readInPlace(() => {
      writeSome(writer, 1, 10)
      writer.claim().fill(9)
    })
    expect(overtaken).toMatchObject({ version: 1, isWhole: false })
  })

  it('gives up after copies of 64 MiB, or after 100', () => {
    const { cell, memory, attach } = createLatest({ byteLength: 2 ** 20, slots: 2 })
    const writer = attach().root.writer()
    writeSome(writer, 1, 1)
    let looks = 0
    const { load } = Atomics
    Atomics.load = ((array: Int32Array, at: number) => {
      const value = load(array, at)
      const isStamp = at === memory.stampIndex(0) || at === memory.stampIndex(1)
      if (!isStamp || array.byteOffset !== memory.words.byteOffset || value === 0) return value
      Atomics.load = load
      looks++
      writeSome(writer, 2, 10)
      Atomics.load = hooked
      return value
    }) as typeof Atomics.load
    const hooked = Atomics.load
    expectCode('ERR_ISTHMUS_BUSY', () => cell.read())
    // Two at each copy.
    expect(looks).toBe(200)
    Atomics.load = load
    expect(cell.read()?.version).toBe(401)
  })
})

/** The words that a write stores to, in order: after each, the writer is killed or stopped. */
const STEPS = ['V1', 'V2', 'V3', 'V4'] as const

describe.each(['write', 'claim and commit'])('In the midst of a %s, a reader gets', (way) => {
  function stopAt(step: (typeof STEPS)[number], setup: LatestSetup, act: () => void): void {
    const { memory, attach } = setup
    const writer = attach().root.writer()
    writeSome(writer, 2, 1)
    const stamp = memory.stampIndex(3)
    if (step === 'V1') afterStore(memory.words, stamp, 1, act)
    if (step === 'V3') afterStore(memory.words, stamp, 2, act)
    if (step === 'V4') afterStore(memory.words, memory.currentIndex, 1, act)
    if (way === 'write') {
      if (step === 'V2') {
        const { set } = writer.claim().constructor.prototype
        writer.abort()
        Uint8Array.prototype.set = function (this: Uint8Array, source: Uint8Array, at?: number) {
          Uint8Array.prototype.set = set
          set.call(this, source.subarray(0, 4), at)
          act()
          set.call(this, source, at)
        }
      }
      writer.write(filled(3, 8))
    } else {
      const claim = writer.claim()
      claim.fill(3, 0, 4)
      if (step === 'V2') act()
      claim.fill(3)
      writer.commit()
    }
  }

  it.each(STEPS)('the last whole value after %s, at once, with 2 slots and with 4', (step) => {
    for (const slots of [2, 4]) {
      const setup = createLatest({ byteLength: 8, slots })
      const reader = setup.cell
      let acts = 0
      stopAt(step, setup, () => {
        acts++
        // The current version, and its stamp before and after the copy: no attempt is in vain.
        expect(loadsOf(() => reader.read())).toBe(3)
        expect(loadsOf(() => reader.readInPlace(() => {}))).toBe(3)
        const expected = step === 'V4' ? 3 : 2
        expect(reader.read()).toEqual({ value: filled(expected, 8), version: expected })
        expect(reader.readInPlace((bytes, at) => bytes[at])).toEqual({
          value: expected,
          version: expected,
          isWhole: true,
        })
        expect(reader.nextSync({ timeoutMs: 0 })).toEqual({ value: filled(expected, 8), version: expected })
      })
      expect(acts).toBe(1)
      expect(reader.read()).toEqual({ value: filled(3, 8), version: 3 })
    }
  })
})

describe('Hostile memory', () => {
  it.each([
    ['a version whose slot has another stamp', (setup: LatestSetup) => (setup.memory.current = 2)],
    ['a slot whose stamp was changed', (setup: LatestSetup) => setup.memory.setStamp(1, 77)],
    ['a length above byteLength', (setup: LatestSetup) => setup.memory.setLength(1, 9)],
    ['a negative length', (setup: LatestSetup) => setup.memory.setLength(1, -8)],
  ])('%s: the error says what was found', async (_, damage) => {
    const setup = createLatest({ byteLength: 8 })
    setup.cell.writer().write(filled(1, 8))
    const reader = setup.attach().root
    damage(setup)
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.read())
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.read({ into: new Uint8Array(64) }))
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.readInPlace(() => expect.unreachable()))
    expectCode('ERR_ISTHMUS_CORRUPT', () => reader.nextSync())
    await expect(reader.next()).rejects.toMatchObject({ code: 'ERR_ISTHMUS_CORRUPT' })
    await expect(reader.watch().next()).rejects.toMatchObject({ code: 'ERR_ISTHMUS_CORRUPT' })
  })

  it('a version of 0 is none, whatever the program has', async () => {
    const { cell, memory, attach } = createLatest({ byteLength: 8 })
    cell.writer().write(filled(1, 8))
    memory.current = 0
    const reader = attach().root
    expect(reader.read()).toBeUndefined()
    expect(reader.nextSync({ after: 1, timeoutMs: 1 })).toBeUndefined()
    expect(await reader.next({ after: 1, timeoutMs: 1 })).toBeUndefined()
  })

  it('the next writer begins wherever the version stands', () => {
    const { cell, memory } = createLatest({ byteLength: 8, slots: 3 })
    memory.current = -7
    const writer = cell.writer()
    expect(writer.write(filled(1, 8))).toBe(2 ** 32 - 6)
    expect(cell.read()).toEqual({ value: filled(1, 8), version: 2 ** 32 - 6 })
    memory.current = 5
    expect(writer.write(filled(2, 8))).toBe(2 ** 32 - 5)
    expect(cell.read()?.value).toEqual(filled(2, 8))
  })
})
