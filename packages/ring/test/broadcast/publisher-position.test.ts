import { describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { distanceOf, eraAt, SharedPosition } from '../../src/broadcast/position.js'
import { afterLoad } from '../support/atomics-hook.js'

const ERA = 2 ** 30

/** A position, and the words in which it stands. */
function positionAt(low: number, era: number) {
  const words = new Int32Array(new SharedArrayBuffer(16))
  words.set([low | 0, era | 0], 2)
  return { words, position: new SharedPosition(words, 8, 'a ring', 'write position') }
}

describe('A position in two words', () => {
  test.each([
    ['0', 0, 0, 0],
    ['the end of an era', ERA - 8, 0, 0],
    ['low in its fourth era', -8, 3, 3],
    ['the era after 4 GiB', 16, 4, 4],
    ['the last era', -8, -1, -1],
    ['the next era is stored, low is not', ERA - 8, 1, 0],
    ['the next era is stored, low is not, at 4 GiB', -8, 4, 3],
    ['the next era is stored, low is not, at the very end', -8, 0, -1],
  ])('is read: %s', (_what, low, era, expected) => {
    const { position } = positionAt(low, era)
    position.read()
    expect([position.low, position.era]).toEqual([low | 0, expected])
  })

  test.each([
    ['an era that low does not belong to', 8, 2],
    ['an era that is behind', ERA, 0],
    ['no multiple of 8', 12, 0],
  ])('is garbled: %s', (_what, low, era) => {
    const { position } = positionAt(low, era)
    expect(position.tryRead()).toBe(false)
    expectCode('ERR_ISTHMUS_CORRUPT', () => position.read())
  })

  test('is read anew if laps go by between its two words', () => {
    const { words, position } = positionAt(8, 0)
    afterLoad(words, 2, 1, () => words.set([24, 4], 2))
    position.read()
    expect([position.low, position.era]).toEqual([24, 4])
  })

  test('is moved from era to era, and restored by a successor', () => {
    const { words, position } = positionAt(ERA - 8, 0)
    position.restore()
    position.moveTo(ERA)
    expect([...words.subarray(2)]).toEqual([ERA, 1])
    position.moveTo((ERA * 2) | 0)
    expect([...words.subarray(2)]).toEqual([(ERA * 2) | 0, 2])
    words[3] = 3
    const successor = new SharedPosition(words, 8, 'a ring', 'write position')
    successor.restore()
    expect([...words.subarray(2)]).toEqual([(ERA * 2) | 0, 2])
  })

  test('has distances across all borders', () => {
    expect(distanceOf(8, 0, 0, 0)).toBe(8)
    expect(distanceOf(ERA, 1, ERA - 8, 0)).toBe(8)
    expect(distanceOf(0, 4, -8, 3)).toBe(8)
    expect(distanceOf(-8, -1, 0, 0)).toBe(-8)
    expect(distanceOf(16, 4_000_004 | 0, 8, 4)).toBe(4_000_000 * ERA + 8)
    expect([eraAt(ERA, 0), eraAt(ERA - 8, 1), eraAt(0, 3), eraAt(-8, 4), eraAt(-8, 0)]).toEqual([1, 0, 4, 3, -1])
  })
})
