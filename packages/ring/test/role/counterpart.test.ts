import { HeapRegion, type Region, struct, words } from '@isthmus/sync'
import { beforeEach, describe, expect, test } from 'vitest'
import { asOfAnotherThread } from '../../../sync/test/support/other-thread.js'
import { Counterpart, nameOf } from '../../src/role/counterpart.js'
import { CLOSED, DIED, epochOfRole } from '../../src/role/layout.js'
import { Role } from '../../src/role/role.js'
import { endHold } from '../support/ring-memory.js'

const ROLE = 0
const REPORTED_EPOCH = 1
const layout = struct({ words: words(2) })
type Attached = HeapRegion<ReturnType<typeof layout.attach>>

let own: Attached
let holder: Attached
let held: number

const attach = (threadId: number) => HeapRegion.attach(own.handle, layout, { threadId })
const offsetOf = (word: number) => own.root.words.byteOffset + word * 4
const roleOf = (region: Region) => new Role(region, offsetOf(ROLE), 'producer', 'a ring')
const reportedEpoch = () => own.root.words[REPORTED_EPOCH]
/** One that tells its successors what it has told, as a consumer's. */
const observer = () => {
  const counterpart = new Counterpart(own, roleOf(own), offsetOf(REPORTED_EPOCH))
  counterpart.inheritTold()
  return counterpart
}

beforeEach(() => {
  own = asOfAnotherThread(HeapRegion.create(layout))
  holder = attach(4711)
  held = roleOf(holder).acquire().word
})

/** The holder dies, and is swept as a ring sweeps it. */
function die(): void {
  roleOf(own).sweep(holder.peers.self)
  own.declareDead(holder.peers.self)
}
const endings = { [CLOSED]: () => roleOf(holder).close(held), [DIED]: die }

describe('Counterpart: deaths', () => {
  test('a death is found once it is proven, and is untold until it was told', () => {
    const counterpart = new Counterpart(own, roleOf(own))
    expect([counterpart.hasUntoldDeath(), counterpart.findUntoldDeath()]).toEqual([false, undefined])
    endHold(own, holder.peers.self)
    expect(counterpart.hasUntoldDeath()).toBe(false)
    expect(counterpart.findUntoldDeath()).toMatchObject({ epoch: 1, state: DIED })
    expect(counterpart.hasUntoldDeath()).toBe(true)
    counterpart.markTold(1)
    expect([counterpart.hasUntoldDeath(), counterpart.findUntoldDeath()]).toEqual([false, undefined])
    expect(reportedEpoch()).toBe(0)
  })

  test('the death of the next holder is another death', () => {
    const counterpart = new Counterpart(own, roleOf(own))
    die()
    counterpart.markTold(counterpart.findUntoldDeath()?.epoch ?? 0)
    holder = attach(4712)
    roleOf(holder).acquire()
    expect(counterpart.hasUntoldDeath()).toBe(false)
    die()
    expect(counterpart.findUntoldDeath()).toMatchObject({ epoch: 2, state: DIED })
  })

  test('a close is no death', () => {
    const counterpart = new Counterpart(own, roleOf(own))
    endings[CLOSED]()
    expect([counterpart.hasUntoldDeath(), counterpart.findUntoldDeath()]).toEqual([false, undefined])
  })

  test('reapDead proves the death of a holder that nothing has proven', () => {
    const counterpart = new Counterpart(own, roleOf(own))
    endHold(own, holder.peers.self)
    counterpart.reapDead()
    expect(counterpart.hasUntoldDeath()).toBe(true)
    expect(nameOf(counterpart.agentIn(1))).toBe(`, process ${process.pid}, thread 4711,`)
  })
})

describe('Counterpart: the holder', () => {
  test('its name is remembered after its slot has another holder', () => {
    const counterpart = observer()
    die()
    for (const threadId of [1, 2]) attach(threadId)
    const end = counterpart.findEnd()
    expect(end?.epoch).toBe(1)
    expect(counterpart.agentIn(1)).toEqual({ pid: process.pid, threadId: 4711 })
  })

  test('it is unknown for an epoch in which this handle did not look', () => {
    const counterpart = observer()
    roleOf(holder).close(held)
    holder = attach(4712)
    roleOf(holder).acquire()
    die()
    expect([counterpart.findEnd()?.epoch, counterpart.agentIn(2)]).toEqual([2, undefined])
    expect(nameOf(undefined)).toContain('no longer known')
  })

  test('holders names the peer as long as it has the role', () => {
    const counterpart = observer()
    expect(counterpart.holders()).toEqual([holder.peers.self])
    endings[CLOSED]()
    expect(counterpart.holders()).toEqual([])
  })
})

describe('Counterpart: ends', () => {
  test('a role that is held, or was never taken, has not ended', () => {
    expect(observer().findEnd()).toBeUndefined()
    own.root.words[ROLE] = 0
    expect(observer().findEnd()).toBeUndefined()
  })

  test.each([CLOSED, DIED] as const)('an end (state %s) is untold, then told by this handle', (state) => {
    const counterpart = observer()
    endings[state]()
    const end = counterpart.findEnd()
    expect(end).toMatchObject({ epoch: 1, state })
    if (end === undefined) return
    expect([counterpart.judge(end), counterpart.judge(end)]).toEqual(['untold', 'untold'])
    counterpart.markTold(end.epoch)
    // Our program may not have seen it yet: a successor that comes now tells it, too.
    expect([reportedEpoch(), observer().judge(end)]).toEqual([0, 'untold'])
    expect(counterpart.hasClosedForGood()).toBe(state === CLOSED)
    // It came back for more, so it has seen it.
    expect([counterpart.judge(end), reportedEpoch(), observer().judge(end)]).toEqual(['told', 1, 'told-before'])
  })

  test('what the predecessor told between the making of this handle and its role was told before', () => {
    const counterpart = new Counterpart(own, roleOf(own), offsetOf(REPORTED_EPOCH))
    const predecessor = observer()
    endings[CLOSED]()
    const end = predecessor.findEnd()
    expect(end).toBeDefined()
    if (end === undefined) return
    predecessor.markTold(end.epoch)
    predecessor.recordTold()
    counterpart.inheritTold()
    expect(counterpart.judge(end)).toBe('told-before')
  })

  test('an end counts as judged only when it was judged: what was published before it may come first', () => {
    const counterpart = observer()
    counterpart.findEnd()
    expect(counterpart.hasChanged()).toBe(false)
    endings[CLOSED]()
    expect(counterpart.hasChanged()).toBe(true)
    const end = counterpart.findEnd()
    expect(counterpart.hasChanged()).toBe(true)
    if (end !== undefined) counterpart.judge(end)
    expect(counterpart.hasChanged()).toBe(false)
    roleOf(attach(1)).acquire()
    expect([counterpart.hasChanged(), counterpart.findEnd(), counterpart.hasChanged()]).toEqual([
      true,
      undefined,
      false,
    ])
  })

  test.each([
    ['is held', undefined, false],
    ['was closed, and that is untold', CLOSED, true],
    ['was closed, and that was told', CLOSED, true],
    ['was closed, and that was told before', CLOSED, false],
    ['died, and that is untold', DIED, true],
    ['died, and that was told', DIED, false],
    ['died, and that was told before', DIED, false],
  ] as const)('a wait does not begin with news if the role %s, else it does', (how, state, isNews) => {
    if (how.endsWith('before')) own.root.words[REPORTED_EPOCH] = epochOfRole(held)
    const counterpart = observer()
    if (state !== undefined) endings[state]()
    if (how.endsWith('was told')) counterpart.markTold(epochOfRole(held))
    counterpart.judgeBeforeWait()
    expect(counterpart.hasChanged()).toBe(isNews)
  })

  test('recordTold records nothing if nothing was told, or if it has no word for that', () => {
    observer().recordTold()
    const counterpart = new Counterpart(own, roleOf(own))
    counterpart.markTold(1)
    counterpart.recordTold()
    expect(reportedEpoch()).toBe(0)
  })
})
