import { chownSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment, type SegmentFile, type TrustedOwner } from '../../src/index.js'
import { isTrusted } from '../../src/segment/owner.js'
import { endAllChildren } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'
import { descriptorsOf, mappingsOf } from '../support/processes.js'

const STRANGER = 65534
const own = process.geteuid?.() ?? 0

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

const PLACES: [string, () => [string | SegmentFile, string]][] = [
  [
    'under a name',
    () => {
      const name = uniqueName()
      return [name, pathOf(name)]
    },
  ],
  [
    'in a file',
    () => {
      const file = join(temporaryDirectory(), 'segment')
      return [{ file }, file]
    },
  ],
]

// Only root can give a file to another user.
describe.runIf(own === 0).each(PLACES)('A segment of another user, %s,', (_, place) => {
  function squatted(): [string | SegmentFile, string] {
    const [where, path] = place()
    Segment.create(where, counter, { mode: 0o666 }).close()
    chownSync(path, STRANGER, STRANGER)
    return [where, path]
  }

  it.each([undefined, 1000, [], [1000, 1001]])('is not opened if the owners trusted are %j', (owner) => {
    const [where, path] = squatted()
    const options = owner === undefined ? {} : { owner }
    for (const open of [Segment.open, Segment.openOrCreate]) {
      const { message } = expectCode('ERR_ISTHMUS_FOREIGN_OWNER', () => open(where, counter, options))
      expect(message).toContain(`belongs to user ${STRANGER}, and this program runs as user ${own}`)
      expect(message).toContain(`{ owner: ${STRANGER} }`)
    }
    expect([descriptorsOf(path), mappingsOf(path)]).toEqual([0, 0])
  })

  it.each<TrustedOwner>(['anyone', STRANGER, [1000, STRANGER]])('is opened if the owners trusted are %j', (owner) => {
    const [where] = squatted()
    for (const open of [Segment.open, Segment.openOrCreate]) {
      using segment = open(where, counter, { owner })
      expect(segment.peers.list()).toHaveLength(1)
    }
  })

  it('is not created over, but may be removed', () => {
    const [where, path] = squatted()
    expectCode('EEXIST', () => Segment.create(where, counter))
    Segment.unlink(where)
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined()
  })

  it('is listed and pruned, of which nothing is mapped', () => {
    const [where] = squatted()
    if (typeof where !== 'string') return
    expect(Segment.list().map(({ name }) => name)).toContain(where)
    expect(Segment.prune({ prefix: where })).toEqual([where])
  })
})

describe('The owner of a segment', () => {
  it('is trusted if it is this user or root, whatever the option', () => {
    for (const trusted of [undefined, 1000, [], [1000], 'anyone'] as const) {
      expect([own, 0].map((owner) => isTrusted(owner, trusted))).toEqual([true, true])
    }
  })

  it('is another one', () => {
    expect(isTrusted(own + 1, undefined)).toBe(own + 1 === 0)
    expect([own + 1, own + 2].map((owner) => isTrusted(owner, own + 1))).toEqual([true, false])
    expect([own + 1, own + 2, own + 3].map((owner) => isTrusted(owner, [own + 1, own + 3]))).toEqual([
      true,
      false,
      true,
    ])
    expect(isTrusted(own + 1, 'anyone')).toBe(true)
  })
})
