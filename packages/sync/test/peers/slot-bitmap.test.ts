import { describe, expect, test } from 'vitest'
import { MAX_PEERS } from '../../src/internal.js'
import { type PeerId, peerId } from '../../src/peers/peer-id.js'
import { lowestSlotOf, SLOT_BITMAP_BYTES, SlotBitmap } from '../../src/peers/slot-bitmap.js'

const OFFSET = 8

function setUp(...slots: number[]) {
  const words = new Int32Array(new SharedArrayBuffer(OFFSET + SLOT_BITMAP_BYTES + 4))
  const bitmap = new SlotBitmap(words, OFFSET)
  for (const slot of slots) bitmap.set(inSlot(slot))
  return { words, bitmap }
}

function inSlot(slot: number): PeerId {
  return peerId(slot, 7)
}

describe('SlotBitmap', () => {
  test.each([0, 31, 32, 63, 95, 127])('SlotBitmap.set and clear of slot %s change this bit alone', (slot) => {
    const { words, bitmap } = setUp()
    bitmap.set(inSlot(slot))
    expect([...bitmap.slots()]).toEqual([slot])
    const word = OFFSET / 4 + (slot >> 5)
    expect([...words.keys()].filter((index) => words[index] !== 0)).toEqual([word])
    expect(words[word]).toBe((1 << (slot & 31)) | 0)
    words.fill(-1)
    bitmap.clear(inSlot(slot))
    expect([...bitmap.slots()]).toEqual(Array.from({ length: MAX_PEERS }, (_, at) => at).filter((at) => at !== slot))
    expect([words[OFFSET / 4 - 1], words.at(-1)]).toEqual([-1, -1])
  })

  test('SlotBitmap.isEmpty sees a bit in any of its words', () => {
    expect(setUp().bitmap.isEmpty).toBe(true)
    for (const slot of [0, 40, 80, 127]) expect(setUp(slot).bitmap.isEmpty).toBe(false)
  })

  test.each([
    [0, [0, 5, 31, 32, 100, 127]],
    [5, [5, 31, 32, 100, 127, 0]],
    [6, [31, 32, 100, 127, 0, 5]],
    [32, [32, 100, 127, 0, 5, 31]],
    [101, [127, 0, 5, 31, 32, 100]],
    [127, [127, 0, 5, 31, 32, 100]],
  ])('SlotBitmap.slots from %s on and around gives each slot once', (first, expected) => {
    const { bitmap } = setUp(0, 5, 31, 32, 100, 127)
    expect([...bitmap.slots(first)]).toEqual(expected)
  })

  test('SlotBitmap.bitsOf and lowestSlotOf walk through the same slots without a generator', () => {
    const slots = [0, 5, 31, 32, 100, 127]
    const { bitmap } = setUp(...slots)
    const found: number[] = []
    for (let word = 0; word < SlotBitmap.wordCount; word++) {
      for (let bits = bitmap.bitsOf(word); bits !== 0; bits &= bits - 1) found.push(lowestSlotOf(word, bits))
    }
    expect(found).toEqual(slots)
  })

  test('SlotBitmap.includes compares with a copy: bits that came since do not matter, bits that went do', () => {
    const { bitmap } = setUp(3, 90)
    const copy = new Int32Array(SlotBitmap.wordCount)
    bitmap.copyTo(copy)
    bitmap.set(inSlot(64))
    expect(bitmap.includes(copy)).toBe(true)
    bitmap.clear(inSlot(90))
    expect(bitmap.includes(copy)).toBe(false)
  })
})
