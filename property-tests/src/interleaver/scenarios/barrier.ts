import { type Barrier, type BarrierMember, barrier, PeerDiedError } from '@isthmus/sync'
import { agent, type Ending, type RegionWords, scenario } from '../scenario.js'
import { barrierNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

/** The plain words are one for each agent: the others read after the barrier what it wrote before. */
const pair = barrier({ parties: 2 })
const layout = guarded(pair, 3)
const words = { layout, ...barrierNames('barrier', 0), plainFromByteOffset: plainOffsetOf(pair) }

/** Writes its own word, waits, and reads the other's word as it was written before the barrier. */
function phases(
  { plain }: Guarded<Barrier>,
  member: BarrierMember,
  own: number,
  other: number,
  count: number,
): number[] {
  const seen: number[] = []
  for (let phase = 1; phase <= count; phase++) {
    // Only odd phases write: a member that is one phase ahead must not overwrite what the other still reads.
    if (phase % 2 === 1) {
      plain.set(phase, own)
      member.waitSync()
      seen.push(plain.get(other))
    } else member.waitSync()
  }
  return seen
}

function member(own: number, other: number, count: number) {
  return agent(layout, {
    prepare(tools) {
      const { root } = tools.attach()
      return { root, member: root.inner.join() }
    },
    run: ({ root, member }) => phases(root, member, own, other, count),
  })
}

function wrongSights(ending: Ending, names: readonly string[], expected: string): string | undefined {
  const wrong = names.find((name) => (ending.returned(name) as number[]).join() !== expected)
  return wrong === undefined ? undefined : `${wrong} saw ${ending.returned(wrong)} after the barrier, not ${expected}`
}

export const barrierTwo = scenario({
  name: 'barrier',
  about: 'Two members, one phase: each sees after it what the other has written before it.',
  ...words,
  agents: { one: member(0, 1, 1), other: member(1, 0, 1) },
  check: (ending) => wrongSights(ending, ['one', 'other'], '1'),
})

export const barrierPhases = scenario({
  name: 'barrier-phases',
  about: 'Two members, three phases, and a word written before every second one: no member is ahead by more than one.',
  ...words,
  agents: { one: member(0, 1, 3), other: member(1, 0, 3) },
  check: (ending) => wrongSights(ending, ['one', 'other'], '1,3'),
})

export const barrierThree = scenario({
  name: 'barrier-three',
  about: 'Three members, one phase: the member that sees that all have arrived ends it, and all go on.',
  ...words,
  agents: { one: member(0, 1, 1), other: member(1, 2, 1), third: member(2, 0, 1) },
  check: (ending) => wrongSights(ending, ['one', 'other', 'third'], '1'),
})

export const barrierJoin = scenario({
  name: 'barrier-join',
  about:
    'Two members wait for each other while a third joins and arrives. Once the third has joined, no phase ends without it. It may join too late for the first phase, and leaves after its own.',
  ...words,
  agents: {
    one: agent(layout, {
      prepare(tools) {
        const { root } = tools.attach()
        return { root, member: root.inner.join() }
      },
      run({ root: { plain }, member }) {
        plain.set(1, 0)
        member.waitSync()
        const seen = plain.get(1)
        member.leave()
        return seen
      },
    }),
    other: agent(layout, {
      prepare(tools) {
        const { root } = tools.attach()
        return { root, member: root.inner.join() }
      },
      run({ root: { plain }, member }) {
        plain.set(1, 1)
        member.waitSync()
        const seen = plain.get(0)
        member.leave()
        return seen
      },
    }),
    late: agent(layout, {
      prepare: (tools) => tools.attach().root,
      run({ inner }) {
        const member = inner.join()
        member.waitSync()
        member.leave()
      },
    }),
  },
  check: ({ returned }) =>
    returned('one') === 1 && returned('other') === 1 ? undefined : 'a member went on too early',
})

/** A barrier without `parties`: a phase ends when all present members have arrived. */
const single = barrier()

export const barrierJoinAlone = scenario({
  name: 'barrier-join-alone',
  about:
    'One member goes through three phases while another joins and leaves again: while the other is a member, no phase ends.',
  layout: single,
  ...barrierNames('barrier', 0),
  agents: {
    walker: agent(single, {
      prepare: (tools) => tools.attach().root.join(),
      run(member) {
        for (let phase = 0; phase < 3; phase++) member.waitSync()
      },
    }),
    late: agent(single, {
      prepare: (tools) => tools.attach().root,
      run(root) {
        const member = root.join()
        const joinedAt = root.state.phase
        const leftAt = root.state.phase
        member.leave()
        return leftAt - joinedAt
      },
    }),
  },
  check: ({ returned }) => (returned('late') === 0 ? undefined : 'a phase ended without a member'),
})

export const barrierJoinSlow = scenario({
  name: 'barrier-join-slow',
  about:
    'Seven phases end while a member joins. Member words hold phases modulo eight: the new member must not count as arrived in the phase that it finds.',
  layout: single,
  ...barrierNames('barrier', 0),
  agents: {
    walker: agent(single, {
      prepare: (tools) => tools.attach().root.join(),
      run(member) {
        for (let phase = 0; phase < 7; phase++) member.waitSync()
        member.leave()
      },
    }),
    slow: agent(single, {
      prepare: (tools) => tools.attach(),
      run({ root, peers }) {
        const member = root.join()
        const { hasArrived } = root.describe().members.find(({ peer }) => peer === peers.self) ?? {}
        member.leave()
        return hasArrived
      },
    }),
  },
  check: ({ returned }) => (returned('slow') === false ? undefined : 'the new member counts as arrived'),
})

export const barrierLeave = scenario({
  name: 'barrier-leave',
  about: 'One of two members leaves instead of arriving: the other goes on without it.',
  layout: barrier(),
  ...barrierNames('barrier', 0),
  agents: {
    stays: agent(barrier(), {
      prepare: (tools) => tools.attach().root.join(),
      run: (member) => member.waitSync(),
    }),
    leaves: agent(barrier(), {
      prepare: (tools) => tools.attach().root.join(),
      run: (member) => member.leave(),
    }),
  },
  check: ({ returned }) => (returned('stays') === true ? undefined : 'the phase did not end'),
})

function brokenOr(wait: () => boolean): string {
  try {
    return wait() ? 'over' : 'timed out'
  } catch (error) {
    if (error instanceof PeerDiedError) return 'broken'
    throw error
  }
}

export const barrierBreak = scenario({
  name: 'barrier-break',
  about:
    'One of two members crashes anywhere, and its death is declared. The death breaks the barrier for the other member unless both had arrived; a reset begins a new phase without the dead one.',
  layout: pair,
  ...barrierNames('barrier', 0),
  mayCrash: ['victim'],
  agents: {
    victim: agent(pair, {
      prepare: (tools) => tools.attach().root.join(),
      run: (member) => member.waitSync(),
    }),
    survivor: agent(pair, {
      prepare(tools) {
        const { root } = tools.attach()
        return { root, member: root.join() }
      },
      run({ root, member }) {
        const first = brokenOr(() => member.waitSync())
        if (first === 'broken') root.reset()
        return [first, first === 'broken' ? brokenOr(() => member.waitSync()) : 'over']
      },
    }),
    janitor: janitor(pair),
  },
  check({ returned, crashed }) {
    const [first, second] = returned('survivor') as string[]
    if (crashed === undefined && first !== 'over') return `no agent died, and the first phase is ${first}`
    return second === 'over' ? undefined : `after the reset, the phase is ${second}`
  },
})

const dropping = barrier({ parties: 2, onDeath: 'drop' })

export const barrierDrop = scenario({
  name: 'barrier-drop',
  about: 'One of two members crashes anywhere, and its death drops it: the other one passes this phase and the next.',
  layout: dropping,
  ...barrierNames('barrier', 0),
  mayCrash: ['victim'],
  // Phase 0 waits for `parties`, dead or alive; so this scenario begins with the next phase.
  setUp: ({ words, rootByteOffset }: RegionWords) => {
    words[rootByteOffset >>> 2] = 1 << 9
  },
  agents: {
    victim: agent(dropping, {
      prepare: (tools) => tools.attach().root.join(),
      run: (member) => member.waitSync(),
    }),
    survivor: agent(dropping, {
      prepare: (tools) => tools.attach().root.join(),
      run: (member) => member.waitSync(),
    }),
    janitor: janitor(dropping),
  },
  check: ({ returned }) => (returned('survivor') === true ? undefined : 'the survivor did not pass'),
})
