import { HeapRegion, type PeerId, struct, words } from '@isthmus/sync'
import { slotOf } from '@isthmus/sync/internal'
import { describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import {
  CLOSED,
  DIED,
  epochOfRole,
  HELD,
  nextEpoch,
  type RoleState,
  roleWord,
  slotOfRole,
  stateOfRole,
  VACANT,
} from '../../src/role/layout.js'
import { Role } from '../../src/role/role.js'
import { endHold } from '../support/ring-memory.js'

const layout = struct({ words: words(2) })

function setUp() {
  const first = asOfAnotherThread(HeapRegion.create(layout))
  const roleOf = (region: HeapRegion<{ readonly words: Int32Array }>) => {
    return new Role(region, region.root.words.byteOffset + 4, 'producer', 'a ring')
  }
  return {
    first,
    role: roleOf(first),
    attach: () => {
      const region = asOfAnotherThread(HeapRegion.attach(first.handle, layout))
      return { region, role: roleOf(region), self: region.peers.self }
    },
    setWord: (word: number) => {
      first.root.words[1] = word
    },
    neighbour: () => first.root.words[0],
  }
}

function facts(word: number) {
  return { state: stateOfRole(word), epoch: epochOfRole(word), slot: slotOfRole(word) }
}

describe('role word', () => {
  test.each([
    [0, VACANT, 0],
    [1, HELD, 127],
    [2 ** 23 - 1, DIED, 127],
    [2 ** 22, CLOSED, 1],
  ] as [number, RoleState, number][])(
    'epoch %s, state %s and slot %s stand beside each other',
    (epoch, state, slot) => {
      const word = roleWord(epoch, state, slot)
      expect(facts(word)).toEqual({ epoch, state, slot })
      expect(word).toBe(word | 0)
    },
  )

  test('nextEpoch passes over 0', () => {
    expect([nextEpoch(0), nextEpoch(1), nextEpoch(2 ** 23 - 1)]).toEqual([1, 2, 1])
  })
})

describe('Role.tryAcquire', () => {
  test('Role.tryAcquire takes what acquire takes: a vacant role, one that was given back, one of a dead holder', () => {
    const { first, role, attach } = setUp()
    const acquired = role.tryAcquire()
    expect(acquired).toEqual({ previous: 0, word: role.word })
    expect(facts(role.word)).toEqual({ state: HELD, epoch: 1, slot: slotOf(first.peers.self) })
    role.close(role.word)
    const gone = attach()
    expect(epochOfRole(gone.role.tryAcquire()?.word ?? 0)).toBe(2)
    first.declareDead(gone.self)
    expect(epochOfRole(role.tryAcquire()?.word ?? 0)).toBe(3)
  })
})

describe('Role.acquire', () => {
  test('Role.acquire of a vacant role begins epoch 1', () => {
    const { first, role, neighbour } = setUp()
    const { previous, word } = role.acquire()
    expect(previous).toBe(0)
    expect(facts(word)).toEqual({ state: HELD, epoch: 1, slot: slotOf(first.peers.self) })
    expect([role.word, neighbour()]).toEqual([word, 0])
    expect(role.isHeldBySelf()).toBe(true)
  })

  test('Role.acquire is refused while a live agent has the role, this attachment too', () => {
    const { role, attach } = setUp()
    const { word } = role.acquire()
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => role.acquire())
    expect(() => role.acquire()).toThrow(/producer.*this attachment/)
    const other = attach()
    expectCode('ERR_ISTHMUS_ROLE_TAKEN', () => other.role.acquire())
    expect(() => other.role.acquire()).toThrow(`process ${process.pid}, thread 0`)
    expect([role.tryAcquire(), other.role.tryAcquire()]).toEqual([undefined, undefined])
    expect([role.word, other.role.isHeldBySelf()]).toEqual([word, false])
  })

  test('Role.acquire after close begins the next epoch and tells what was before', () => {
    const { role, attach } = setUp()
    role.close(role.acquire().word)
    const { previous, word } = attach().role.acquire()
    expect(facts(previous)).toEqual({ state: CLOSED, epoch: 1, slot: 0 })
    expect(facts(word)).toEqual({ state: HELD, epoch: 2, slot: 1 })
  })

  test.each([
    ['declared dead', (region: HeapRegion<unknown>, peer: PeerId) => region.declareDead(peer)],
    ['found to have lost its hold', (region: HeapRegion<unknown>, peer: PeerId) => endHold(region, peer)],
  ])('Role.acquire takes the role of a holder that was %s', (_how, die) => {
    const { first, role, attach } = setUp()
    const gone = attach()
    gone.role.acquire()
    die(first, gone.self)
    const { previous, word } = role.acquire()
    expect(epochOfRole(previous)).toBe(1)
    expect(facts(word)).toEqual({ state: HELD, epoch: 2, slot: 0 })
  })

  test('Role.acquire in the last epoch goes on with epoch 1', () => {
    const { role, setWord } = setUp()
    setWord(roleWord(2 ** 23 - 1, CLOSED, 5))
    expect(epochOfRole(role.acquire().word)).toBe(1)
  })
})

describe('Role.close', () => {
  test('Role.close gives back what it acquired', () => {
    const { role } = setUp()
    const { word } = role.acquire()
    role.close(word)
    expect(facts(role.word)).toEqual({ state: CLOSED, epoch: 1, slot: 0 })
    expect(role.isHeldBySelf()).toBe(false)
  })

  test('Role.close of an epoch that is over changes nothing', () => {
    const { first, role, attach } = setUp()
    const gone = attach()
    const { word: oldWord } = gone.role.acquire()
    first.declareDead(gone.self)
    const { word } = role.acquire()
    gone.role.close(oldWord)
    expect(role.word).toBe(word)
  })
})

describe('Role.sweep', () => {
  test('Role.sweep turns HELD by the dead peer into DIED of the same epoch', () => {
    const { role, attach } = setUp()
    const gone = attach()
    gone.role.acquire()
    role.sweep(gone.self)
    role.sweep(gone.self)
    expect(facts(role.word)).toEqual({ state: DIED, epoch: 1, slot: slotOf(gone.self) })
  })

  test('Role.sweep leaves the role of others alone, and one that was given back', () => {
    const { role, attach } = setUp()
    const other = attach()
    const { word } = role.acquire()
    role.sweep(other.self)
    expect(role.word).toBe(word)
    role.close(word)
    const closed = role.word
    role.sweep(0 as PeerId)
    expect(role.word).toBe(closed)
  })
})

describe('Role.observe', () => {
  test('Role.observe tells state and epoch, and leaves a living holder alone', () => {
    const { role, attach } = setUp()
    expect(role.observe()).toEqual({ state: VACANT, epoch: 0 })
    const other = attach()
    const { word } = other.role.acquire()
    expect(role.observe()).toEqual({ state: HELD, epoch: 1 })
    expect(role.word).toBe(word)
    other.role.close(word)
    expect(role.observe()).toEqual({ state: CLOSED, epoch: 1 })
  })

  test('Role.observe turns HELD by a dead peer into DIED', () => {
    const { first, role, attach } = setUp()
    const gone = attach()
    gone.role.acquire()
    endHold(first, gone.self)
    expect(role.observe()).toEqual({ state: DIED, epoch: 1 })
    expect(facts(role.word)).toEqual({ state: DIED, epoch: 1, slot: slotOf(gone.self) })
  })

  test('Role.describe names the holder', () => {
    const { first, role, attach } = setUp()
    expect(role.describe()).toEqual({ state: 'vacant', epoch: 0, holder: undefined })
    const other = attach()
    other.role.acquire()
    expect(role.describe()).toEqual({ state: 'held', epoch: 1, holder: first.peers.describe(other.self) })
    endHold(first, other.self)
    role.observe()
    expect(role.describe()).toEqual({ state: 'died', epoch: 1, holder: undefined })
  })
})
