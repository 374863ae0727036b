import { closeSync, lstatSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { FORMAT_VERSION, INITIALISING, MAX_PEERS, RETIRED, STATE_WORD, VERSION_WORD } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { counter } from '../support/ledger.js'
import { NAME_PREFIX, pathOf, removeEverything, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

afterEach(removeEverything)

const BYTE_LENGTH = Segment.createAnonymous(counter).bytes.byteLength
const TEXT_OFFSET_WORD = 13
const TEXT_LENGTH_WORD = 14
const PAIR_COUNT_WORD = 15
const ROOT_OFFSET_WORD = 12

/** A segment without peers, after another program has written its file. */
function damaged(damage: (path: string) => void): string {
  const name = uniqueName()
  const segment = Segment.create(name, counter)
  segment.root.count.value = 6
  segment.close()
  damage(pathOf(name))
  return name
}

function setWord(word: number, value: number): (path: string) => void {
  return (path) => {
    const fd = openSync(path, 'r+')
    writeSync(fd, Int32Array.of(value), 0, 4, word * 4)
    closeSync(fd)
  }
}

const cutTo = (byteLength: number) => (path: string) => truncateSync(path, byteLength)

/** The damage, the error of open, how the damage is done; whether the header can be read all the same. */
const DAMAGES: [string, string, (path: string) => void, boolean?][] = [
  ['cut to nothing', 'ERR_ISTHMUS_FOREIGN', cutTo(0)],
  ['cut to 4 bytes', 'ERR_ISTHMUS_FOREIGN', cutTo(4)],
  ['cut to its magic', 'ERR_ISTHMUS_SIZE', cutTo(8)],
  ['cut to 100 bytes', 'ERR_ISTHMUS_SIZE', cutTo(100)],
  ['cut to the fixed header', 'ERR_ISTHMUS_SIZE', cutTo(128)],
  ['cut to 5000 bytes', 'ERR_ISTHMUS_SIZE', cutTo(5000)],
  ['cut by a page', 'ERR_ISTHMUS_SIZE', cutTo(BYTE_LENGTH - 4096)],
  ['cut by a byte', 'ERR_ISTHMUS_SIZE', cutTo(BYTE_LENGTH - 1)],
  ['lengthened by a byte', 'ERR_ISTHMUS_SIZE', cutTo(BYTE_LENGTH + 1)],
  ['with a changed magic', 'ERR_ISTHMUS_FOREIGN', setWord(1, 0x21535554)],
  ['of an older version', 'ERR_ISTHMUS_VERSION', setWord(VERSION_WORD, FORMAT_VERSION - 1)],
  ['of a newer version', 'ERR_ISTHMUS_VERSION', setWord(VERSION_WORD, FORMAT_VERSION + 1)],
  ['still initialising', 'ERR_ISTHMUS_CORRUPT', setWord(STATE_WORD, INITIALISING), true],
  ['in a state that there is not', 'ERR_ISTHMUS_CORRUPT', setWord(STATE_WORD, 77), true],
  ['with another length in its header', 'ERR_ISTHMUS_SIZE', setWord(4, BYTE_LENGTH + 4096)],
  ['with a huge length in its header', 'ERR_ISTHMUS_SIZE', setWord(5, 0x7fffffff)],
  ['with its text elsewhere', 'ERR_ISTHMUS_CORRUPT', setWord(TEXT_OFFSET_WORD, 8000)],
  ['with a longer text', 'ERR_ISTHMUS_CORRUPT', setWord(TEXT_LENGTH_WORD, -1)],
  ['with more pairs', 'ERR_ISTHMUS_CORRUPT', setWord(PAIR_COUNT_WORD, 0x7fffffff)],
  ['with its root outside', 'ERR_ISTHMUS_CORRUPT', setWord(ROOT_OFFSET_WORD, BYTE_LENGTH + 128)],
  ['with its root elsewhere', 'ERR_ISTHMUS_CORRUPT', setWord(ROOT_OFFSET_WORD, 128)],
  ['with another signature', 'ERR_ISTHMUS_LAYOUT_MISMATCH', setWord((128 + MAX_PEERS * 64) / 4, 0x20202020), true],
]

describe.each(DAMAGES)('A segment %s', (_, code, damage, isReadable = false) => {
  it(`is refused by open and openOrCreate with ${code}, exists for create, and is not touched`, () => {
    const name = damaged(damage)
    const path = pathOf(name)
    const before = { stat: lstatSync(path, { bigint: true }).mtimeNs, content: readFileSync(path) }
    const holdings = holdingsUnder('/dev/shm')
    expect(expectCode(code, () => Segment.open(name, counter)).message).toContain(name)
    expectCode(code, () => Segment.open(name, counter, { mapper: 'view' }))
    expectCode(code, () => Segment.openOrCreate(name, counter))
    expectCode('EEXIST', () => Segment.create(name, counter))
    expect({ stat: lstatSync(path, { bigint: true }).mtimeNs, content: readFileSync(path) }).toEqual(before)
    expect(holdingsUnder('/dev/shm')).toEqual(holdings)
  })

  const isOurs = code !== 'ERR_ISTHMUS_FOREIGN'
  it(isOurs ? 'can be unlinked, and its name serves again' : 'cannot be unlinked', () => {
    const name = damaged(damage)
    const { ino } = lstatSync(pathOf(name))
    if (isOurs) {
      Segment.unlink(name)
      using successor = Segment.create(name, counter)
      expect(successor.root.count.value).toBe(0)
    } else {
      expectCode(code, () => Segment.unlink(name))
      expect(lstatSync(pathOf(name)).ino).toBe(ino)
    }
  })

  it(isReadable ? 'is listed, and pruned' : 'is passed over by list and by prune, forced or not', () => {
    const name = damaged(damage)
    const before = readFileSync(pathOf(name))
    expect(isListed(name)).toBe(isReadable)
    expect(Segment.prune({ prefix: NAME_PREFIX })).toEqual(isReadable ? [name] : [])
    expect(Segment.prune({ prefix: NAME_PREFIX, force: true })).toEqual([])
    if (!isReadable) expect(readFileSync(pathOf(name))).toEqual(before)
  })
})

describe('A segment whose remover was killed between its two steps', () => {
  const half = () => damaged(setWord(STATE_WORD, RETIRED))

  it('does not exist for open, which completes the removal', () => {
    const name = half()
    expectCode('ENOENT', () => Segment.open(name, counter))
    expect(() => lstatSync(pathOf(name))).toThrow(/ENOENT/)
  })

  it.each(['create', 'openOrCreate'] as const)('makes room for %s', (attempt) => {
    const name = half()
    const { ino } = lstatSync(pathOf(name))
    using segment = Segment[attempt](name, counter)
    expect(segment.root.count.value).toBe(0)
    expect(lstatSync(pathOf(name)).ino).not.toBe(ino)
    using other = Segment.open(name, counter)
    expect(other.handle.segmentId).toBe(segment.handle.segmentId)
  })

  it('makes room, whatever layout it had', () => {
    const name = half()
    using segment = Segment.create(name, { ...counter, signature: 'another' })
    expect(segment.isClosed).toBe(false)
  })

  it('is removed by unlink and by prune, and not listed', () => {
    const name = half()
    expect(isListed(name)).toBe(false)
    Segment.unlink(name)
    expect(() => lstatSync(pathOf(name))).toThrow(/ENOENT/)
    const other = half()
    expect(Segment.prune({ prefix: NAME_PREFIX })).toEqual([other])
  })
})

function isListed(name: string): boolean {
  return Segment.list().some((description) => description.name === name)
}
