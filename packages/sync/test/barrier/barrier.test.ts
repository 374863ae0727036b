import { describe, expect, test, vi } from 'vitest'
import {
  type Barrier,
  type BarrierMember,
  barrier,
  IsthmusRangeError,
  IsthmusTypeError,
  PeerDiedError,
  waitAny,
} from '../../src/index.js'
import { expectCode, expectRejection } from '../support/expect-code.js'
import { attach, leftovers } from '../support/regions.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { describeWait } from '../support/wait-contract.js'
import { sleep, soon, stateOf, until } from '../support/waiting.js'
import { startAgent } from '../support/workers.js'

withoutSafetyNet()

const breaking = barrier()
const dropping = barrier({ onDeath: 'drop' })
/** The phase word, the sequence and the registrations. */
const IGNORED = [0, 1, 10]

function setUp(layout = breaking) {
  const regions = attach(layout)
  const [own, other, third] = regions.map(({ root }) => root)
  const waiters = () => own.describe().waiters.length
  return { regions, own, other, third, waiters }
}

/** In one attachment several tasks of the contract share the membership. */
const memberships = new WeakMap<Barrier, { member: BarrierMember; users: number }>()

describeWait<Barrier>({
  name: 'BarrierMember.wait',
  layout: dropping,
  layoutText: "(sync) => sync.barrier({ onDeath: 'drop' })",
  block: (root) => {
    const member = root.join()
    return () => {
      member.arrive()
      member.leave()
    }
  },
  wait: async (root, options) => {
    const membership = memberships.get(root) ?? { member: root.join(), users: 0 }
    memberships.set(root, membership)
    membership.users++
    try {
      return await membership.member.wait(options)
    } finally {
      if (--membership.users === 0) {
        memberships.delete(root)
        membership.member[Symbol.dispose]()
      }
    }
  },
  waitSync: (root, options) => {
    const member = root.join()
    try {
      return member.waitSync(options)
    } finally {
      member.leave()
    }
  },
  timedOut: false,
  waiters: (root) => root.describe().waiters.length,
  ignored: IGNORED,
})

describe('barrier', () => {
  test.each([0, -1, 1.5, 129, Number.NaN])('barrier refuses %s parties', (parties) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => barrier({ parties }))
    expect(() => barrier({ parties })).toThrow(IsthmusRangeError)
  })

  test('barrier refuses another onDeath', () => {
    // @ts-expect-error no such policy
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => barrier({ onDeath: 'wait' }))
    // @ts-expect-error no such policy
    expect(() => barrier({ onDeath: null })).toThrow(IsthmusTypeError)
  })
})

describe('Barrier.join and BarrierMember', () => {
  test('Barrier goes on when all members have arrived, phase after phase', async () => {
    const { own, other, third } = setUp()
    const members = [own, other, third].map((root) => root.join())
    for (let phase = 0; phase < 20; phase++) {
      expect(own.describe().phase).toBe(phase)
      const waiting = members.slice(1).map((member) => member.wait())
      expect(await stateOf(waiting[0], 1)).toBe('pending')
      expect(members[0].arrive()).toBe(true)
      expect(await soon(Promise.all(waiting))).toEqual([true, true])
    }
  })

  test('BarrierMember.arrive arrives once for each phase, however often it is called', () => {
    const { own, other } = setUp()
    const [first, second] = [own.join(), other.join()]
    expect([first.arrive(), first.arrive()]).toEqual([false, false])
    expect(own.describe()).toMatchObject({ phase: 0, members: [{ hasArrived: true }, { hasArrived: false }] })
    expect(second.arrive()).toBe(true)
    expect(first.arrive()).toBe(true)
    expect(own.describe()).toMatchObject({ phase: 1, members: [{ hasArrived: false }, { hasArrived: false }] })
  })

  test('BarrierMember stays arrived after a timeout or an abort, and the next wait goes on with the phase', async () => {
    const { own, other, third } = setUp()
    const members = [own, other, third].map((root) => root.join())
    expect(members[0].waitSync({ timeoutMs: 2 })).toBe(false)
    expect(await members[0].wait({ timeoutMs: 2 })).toBe(false)
    await expectRejection('ABORT_ERR', members[1].wait({ signal: AbortSignal.abort() }))
    expect(own.describe().members.map(({ hasArrived }) => hasArrived)).toEqual([true, true, false])
    expect(members[2].arrive()).toBe(true)
    expect([members[0].waitSync(), await members[1].wait(), own.describe().phase]).toEqual([true, true, 1])
  })

  test('Barrier: the first phase does not end before there are as many members as parties; later ones may', async () => {
    const { own, other, third } = setUp(barrier({ parties: 3 }))
    const [first, second] = [own.join(), other.join()]
    const waiting = [first.wait(), second.wait()]
    expect(await stateOf(waiting[0])).toBe('pending')
    const last = third.join()
    expect(last.arrive()).toBe(true)
    expect(await soon(Promise.all(waiting))).toEqual([true, true])
    last.leave()
    second.leave()
    expect([first.arrive(), own.describe().phase]).toEqual([true, 2])
  })

  test('Barrier.join during a phase: it does not end without the new member', async () => {
    const { own, other, third } = setUp()
    const [first, second] = [own.join(), other.join()]
    const waiting = first.wait()
    const late = third.join()
    expect(second.arrive()).toBe(false)
    expect(await stateOf(waiting)).toBe('pending')
    expect(late.arrive()).toBe(true)
    expect(await soon(waiting)).toBe(true)
  })

  test('Barrier.join twice in one attachment is refused, until it has left', () => {
    const { own } = setUp()
    const member = own.join()
    expectCode('ERR_ISTHMUS_CALL_ORDER', () => own.join())
    member.leave()
    member.leave()
    const again = own.join()
    expect(own.describe().members).toHaveLength(1)
    member.leave()
    expect(own.describe().members).toHaveLength(1)
    expect(again.arrive()).toBe(true)
  })

  test('BarrierMember.leave ends the phase if only this member had not arrived', async () => {
    const { regions, own, other, third } = setUp()
    const members = [own, other, third].map((root) => root.join())
    const waiting = [members[0].wait(), members[1].wait()]
    await sleep(5)
    members[2].leave()
    expect(await soon(Promise.all(waiting))).toEqual([true, true])
    for (const member of members) member.leave()
    expect(leftovers(regions[0], breaking, IGNORED)).toEqual([])
  })

  test('BarrierMember: waits at the same time are for the same phase, in whatever order they poll', async () => {
    const { own, other, waiters } = setUp()
    const [member, second] = [own.join(), other.join()]
    const waiting = [member.wait(), member.wait()]
    await until(() => waiters() === 1)
    second.arrive()
    // It knows before they do, and goes on to the next phase, which ends before they look.
    expect([member.arrive(), member.arrive(), second.arrive(), second.arrive(), member.arrive()]).toEqual([
      true,
      false,
      true,
      false,
      true,
    ])
    expect(await soon(Promise.all(waiting))).toEqual([true, true])
  })

  test('BarrierMember: a barrier that breaks breaks every wait, also after a reset', async () => {
    const { regions, own, other, third, waiters } = setUp()
    const member = own.join()
    const killed = other.join()
    third.join()
    const waiting = [member.wait(), member.wait()]
    await until(() => waiters() === 1)
    expect(killed.arrive()).toBe(false)
    regions[0].declareDead(regions[1].peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => member.arrive())
    own.reset()
    for (const wait of waiting) await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(wait))
  })

  test('BarrierMember.leave ends a wait of the same member, which could not end otherwise', async () => {
    const { own, other, waiters } = setUp()
    const [member, second] = [own.join(), other.join()]
    const waiting = member.wait()
    await until(() => waiters() === 1)
    second.leave()
    expect(await soon(waiting)).toBe(true)
    const absent = other.join()
    const alone = member.wait()
    await until(() => waiters() === 1)
    member.leave()
    await expectRejection('ERR_ISTHMUS_NOT_HELD', soon(alone))
    absent.leave()
  })

  test('BarrierMember that has left is refused', async () => {
    const { own } = setUp()
    const member = own.join()
    member[Symbol.dispose]()
    expectCode('ERR_ISTHMUS_NOT_HELD', () => member.arrive())
    expectCode('ERR_ISTHMUS_NOT_HELD', () => member.waitSync())
    await expectRejection('ERR_ISTHMUS_NOT_HELD', member.wait())
  })

  test('Barrier and its member after close are refused', async () => {
    const { regions, own } = setUp()
    const member = own.join()
    regions[0].close()
    for (const use of [
      () => own.join(),
      () => own.reset(),
      () => own.describe(),
      () => member.arrive(),
      () => member.waitSync(),
    ]) {
      expectCode('ERR_ISTHMUS_CLOSED', use)
    }
    await expectRejection('ERR_ISTHMUS_CLOSED', member.wait())
    expect(() => member[Symbol.dispose]()).not.toThrow()
  })

  test('BarrierMember.ref and unref return the member', () => {
    const member = setUp().own.join()
    expect([member.unref(), member.ref()]).toEqual([member, member])
  })
})

describe('BarrierMember and waitAny', () => {
  test('waitAny returns a member when the phase at which it has arrived is over; waitAny does not arrive', async () => {
    const { own, other, waiters } = setUp()
    const [member, second] = [own.join(), other.join()]
    const early = waitAny([member])
    expect(await stateOf(early)).toBe('pending')
    expect(own.describe().members.map(({ hasArrived }) => hasArrived)).toEqual([false, false])
    expect(member.arrive()).toBe(false)
    const waiting = waitAny([member])
    await until(() => waiters() === 1)
    expect(second.arrive()).toBe(true)
    expect(await soon(Promise.all([early, waiting]))).toEqual([[member], [member]])
    // arrive says how the phase ended at which the member had arrived; it has not arrived at the next one.
    expect(member.arrive()).toBe(true)
    expect(own.describe()).toMatchObject({ phase: 1, members: [{ hasArrived: false }, { hasArrived: false }] })
    expect(waiters()).toBe(0)
  })

  test('waitAny returns a member when the barrier breaks, also if it is reset before the member looks', async () => {
    const { regions, own, other, third, waiters } = setUp()
    const members = [own, other].map((root) => root.join())
    third.join()
    members[0].arrive()
    const waiting = members.map((member) => waitAny([member]))
    await until(() => waiters() === 2)
    regions[0].declareDead(regions[2].peers.self)
    own.reset()
    expect(await soon(Promise.all(waiting))).toEqual([[members[0]], [members[1]]])
    expectCode('ERR_ISTHMUS_PEER_DIED', () => members[0].arrive())
    expect([members[1].arrive(), members[0].arrive()]).toEqual([false, true])
  })

  test('waitAny returns a member of a broken barrier at once, and one that has left', async () => {
    const { regions, own, other, third, waiters } = setUp()
    const [member, leaving] = [own.join(), other.join()]
    const waiting = waitAny([leaving])
    await until(() => waiters() === 1)
    leaving.leave()
    expect(await soon(waiting)).toEqual([leaving])
    expect(await waitAny([leaving], { timeoutMs: 0 })).toEqual([leaving])
    third.join()
    regions[0].declareDead(regions[2].peers.self)
    expect(await waitAny([member], { timeoutMs: 0 })).toEqual([member])
  })

  test('waitAny upholds the arrival of its member, which a reset that stalled may have undone', async () => {
    const { regions, own, other, waiters } = setUp()
    const [member, second] = [own.join(), other.join()]
    member.arrive()
    const index = regions[0].words.findIndex((word, at) => at > 2048 && isMemberWord(word, regions[0].peers.self))
    const arrived = regions[0].words[index]
    regions[0].words[index] = regions[0].peers.self
    expect(own.describe().members[0].hasArrived).toBe(false)
    const waiting = waitAny([member])
    await until(() => waiters() === 1)
    expect(regions[0].words[index]).toBe(arrived)
    second.arrive()
    expect(await soon(waiting)).toEqual([member])
  })
})

describe('Barrier and members that die', () => {
  test("Barrier with onDeath 'break' throws to every member, whether it waits or arrives later", async () => {
    const { regions, own, other, third } = setUp()
    const members = [own, other, third].map((root) => root.join())
    const waiting = members[1].wait()
    await sleep(5)
    regions[0].declareDead(regions[2].peers.self)
    await expect(soon(waiting)).rejects.toBeInstanceOf(PeerDiedError)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => members[0].arrive())
    expectCode('ERR_ISTHMUS_PEER_DIED', () => members[0].waitSync())
    await expectRejection('ERR_ISTHMUS_PEER_DIED', members[1].wait())
    expect(own.describe()).toMatchObject({ isBroken: true, phase: 0, waiters: [] })
    expect(own.describe().members.map(({ peer }) => peer)).toEqual([regions[0].peers.self, regions[1].peers.self])
  })

  test('Barrier: a blocked thread throws after the death', async () => {
    const { regions, own, other, waiters } = setUp()
    own.join()
    other.join()
    const agent = await startAgent(regions[0], '(sync) => sync.barrier()', '(root) => root.join().waitSync()')
    await until(() => waiters() === 1)
    regions[0].declareDead(regions[1].peers.self)
    await expectRejection('ERR_ISTHMUS_PEER_DIED', agent.result)
  })

  test('Barrier.reset begins a new phase with the members that are left', async () => {
    const { regions, own, other, third } = setUp()
    const members = [own, other].map((root) => root.join())
    third.join()
    members[0].arrive()
    regions[0].declareDead(regions[2].peers.self)
    own.reset()
    own.reset()
    expect(own.describe()).toMatchObject({ isBroken: false, members: [{ hasArrived: false }, { hasArrived: false }] })
    // The phase at which it had arrived never ended: it is told once.
    expectCode('ERR_ISTHMUS_PEER_DIED', () => members[0].arrive())
    const waiting = members[0].wait()
    expect(await stateOf(waiting)).toBe('pending')
    expect(members[1].arrive()).toBe(true)
    expect(await soon(waiting)).toBe(true)
  })

  test.each([7, 6])('Barrier.reset that stalls for %s phases makes no member arrive', (phases) => {
    const regions = attach(barrier({ parties: 3 }), 4)
    const [own, other, killed, slow] = regions.map(({ root }) => root)
    const [first, second] = [own.join(), other.join()]
    killed.join()
    expect(second.arrive()).toBe(false)
    regions[0].declareDead(regions[2].peers.self)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => second.arrive())
    // Right before the slow one takes the second member's arrival back, the others do the same, and go on.
    const secondsWord = regions[0].words.findIndex((word, at) => at > 2048 && isMemberWord(word, regions[1].peers.self))
    const { compareExchange } = Atomics
    const spy = vi.spyOn(Atomics, 'compareExchange').mockImplementation((...args: unknown[]) => {
      if (args[1] === secondsWord) {
        spy.mockRestore()
        other.reset()
        for (let phase = 0; phase < phases; phase++) passTogether(first, second)
        if (phases === 6) expect(second.arrive()).toBe(false)
      }
      return compareExchange(...(args as Parameters<typeof compareExchange>)) as never
    })
    slow.reset()
    const { members, phase } = own.describe()
    if (phases === 7) {
      expect(members.map(({ hasArrived }) => hasArrived)).toEqual([false, false])
      expect([first.arrive(), own.describe().phase]).toEqual([false, phase])
      expect(second.arrive()).toBe(true)
    } else {
      // What it took back, the member gives again when it looks.
      expect(members.map(({ hasArrived }) => hasArrived)).toEqual([false, false])
      expect([first.arrive(), second.arrive()]).toEqual([false, true])
    }
  })

  test('Barrier.reset of a barrier that is not broken does nothing', () => {
    const { own, other } = setUp()
    const members = [own.join(), other.join()]
    members[0].arrive()
    own.reset()
    expect(own.describe()).toMatchObject({ phase: 0, members: [{ hasArrived: true }, { hasArrived: false }] })
  })

  test('Barrier.join of a broken barrier: the member goes on after reset', () => {
    const { regions, own, other, third } = setUp()
    const first = own.join()
    other.join()
    regions[0].declareDead(regions[1].peers.self)
    const late = third.join()
    expectCode('ERR_ISTHMUS_PEER_DIED', () => late.arrive())
    third.reset()
    expect([late.arrive(), first.arrive(), late.arrive()]).toEqual([false, true, true])
  })

  test('Barrier: a member that looks after its phase was over goes on', () => {
    const { regions, own, other, third } = setUp()
    const members = [own, other, third].map((root) => root.join())
    members[0].arrive()
    members[1].arrive()
    members[2].arrive()
    regions[0].declareDead(regions[2].peers.self)
    expect(members[0].arrive()).toBe(true)
    expectCode('ERR_ISTHMUS_PEER_DIED', () => members[0].arrive())
  })

  test("Barrier with onDeath 'drop' goes on without the dead one", async () => {
    const { regions, own, other, third } = setUp(dropping)
    const members = [own, other].map((root) => root.join())
    third.join()
    const waiting = members.map((member) => member.wait())
    expect(await stateOf(waiting[0])).toBe('pending')
    regions[0].declareDead(regions[2].peers.self)
    expect(await soon(Promise.all(waiting))).toEqual([true, true])
    expect(own.describe()).toMatchObject({ isBroken: false, phase: 1, members: [{}, {}] })
  })

  test("Barrier with onDeath 'drop': the death of one that had arrived changes nothing for the others", async () => {
    const { regions, own, other, third } = setUp(dropping)
    const members = [own, other, third].map((root) => root.join())
    members[2].arrive()
    const waiting = members[0].wait()
    regions[0].declareDead(regions[2].peers.self)
    expect(await stateOf(waiting)).toBe('pending')
    expect(members[1].arrive()).toBe(true)
    expect(await soon(waiting)).toBe(true)
  })

  test("Barrier with onDeath 'drop' still waits for its parties in the first phase", async () => {
    const { regions, own, other, third } = setUp(barrier({ parties: 2, onDeath: 'drop' }))
    const member = own.join()
    other.join()
    const waiting = member.wait()
    regions[0].declareDead(regions[1].peers.self)
    expect(await stateOf(waiting)).toBe('pending')
    expect(third.join().arrive()).toBe(true)
    expect(await soon(waiting)).toBe(true)
  })

  test('Barrier: closing the region as a member counts as a death; having left, it does not', async () => {
    const { regions, own, other, third } = setUp()
    const member = own.join()
    other.join().leave()
    regions[1].close()
    expect(own.describe()).toMatchObject({ isBroken: false, members: [{}] })
    third.join()
    const waiting = member.wait()
    await sleep(5)
    regions[2].close()
    await expectRejection('ERR_ISTHMUS_PEER_DIED', soon(waiting))
  })
})

/** The rest of a member word says how far it has come. */
function isMemberWord(word: number, peer: number): boolean {
  return (word & 0x1fffffff) === peer
}

function passTogether(one: BarrierMember, other: BarrierMember): void {
  expect([one.arrive(), other.arrive(), one.arrive()]).toEqual([false, true, true])
}
