import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type EmptyLook,
  faultsOf,
  type History,
  type Interval,
  type Push,
  type Take,
} from '../src/harness/mpmc-history.js'

const BLOCKS = 3
const LANES = 2
/** Positions come round to negative numbers, and to 0. */
const STARTS = [0, -3, 2 ** 31 - 2]

interface Step {
  readonly does: 'push' | 'take' | 'discard'
  readonly lane: number
  /** How long before and after its moment the call lasts. */
  readonly before: number
  readonly after: number
}

const step: fc.Arbitrary<Step> = fc.record({
  does: fc.constantFrom('push', 'push', 'take', 'take', 'discard'),
  lane: fc.nat(LANES - 1),
  before: fc.nat(35),
  after: fc.nat(35),
})
const steps = fc.array(step, { minLength: 1, maxLength: 40 })
const anyHistory = fc.tuple(steps, fc.constantFrom(...STARTS)).map(([steps, start]) => historyOf(steps, start))

/** A history as it ought to be: each step happens at one moment, 10 ns after the one before, within a call that lasts longer. */
function historyOf(steps: readonly Step[], startPosition = 0): History {
  const queues: number[][] = [[], []]
  const pushes: Push[] = []
  const takes: Take[] = []
  const emptyLooks: EmptyLook[] = []
  const refusals: Interval[] = []
  const unsent: Interval[] = []
  const pushed = [0, 0]
  const taken = [0, 0]
  const take = (around: Interval, priorities: readonly number[]) => {
    for (const lane of priorities) {
      const position = (startPosition + taken[lane]) | 0
      const value = queues[lane].shift()
      if (value !== undefined) {
        taken[lane]++
        takes.push({ ...around, lane, position, values: [value], occupiedUntilNs: around.endNs })
        return true
      }
      emptyLooks.push({ ...around, lane, position })
    }
    return false
  }
  const priorities = [1, 0]
  for (const [at, { does, lane, before, after }] of steps.entries()) {
    const around = { startNs: at * 10 - before, endNs: at * 10 + after }
    const count = queues[0].length + queues[1].length
    if (does === 'take') take(around, priorities)
    else if (count === BLOCKS) refusals.push(around)
    else if (does === 'discard') unsent.push(around)
    else {
      const position = (startPosition + pushed[lane]++) | 0
      queues[lane].push(at)
      pushes.push({ ...around, lane, position, values: [at], occupiedFromNs: around.startNs })
    }
  }
  for (let at = steps.length; take({ startNs: at * 10, endNs: at * 10 }, priorities); at++);
  return { blocks: BLOCKS, lanes: LANES, startPosition, pushes, takes, emptyLooks, refusals, unsent }
}

const at = (moment: number, lane = 0): Step => ({ does: 'push', lane, before: moment, after: moment })
const push = at(1)
const take: Step = { ...push, does: 'take' }
const urgent: Step = { ...push, lane: 1 }

describe('The checker of histories', () => {
  it('finds no fault in those of a queue as it ought to be', () => {
    fc.assert(
      fc.property(anyHistory, (history) => {
        expect(faultsOf(history)).toEqual([])
      }),
    )
  })

  it('accepts what overlapping calls can come to', () => {
    // Two sends, and two receives, that overlap and were done in the other order than they began.
    const { pushes, takes, ...rest } = historyOf([push, push, take, take])
    const swapped = <T extends Interval>([a, b]: readonly T[]) => [
      { ...a, startNs: b.startNs - 5, endNs: b.endNs },
      { ...b, startNs: a.startNs, endNs: b.endNs + 5 },
    ]
    expect(faultsOf({ ...rest, pushes: swapped(pushes), takes: swapped(takes) })).toEqual([])
  })

  const base = historyOf([push, push, push, take, take, take])
  const [first, second] = base.takes
  const others = base.takes.slice(2)
  const instant = (moment: number): Interval => ({ startNs: moment, endNs: moment })
  const prioritised = historyOf([push, urgent, take, take])
  const wrong: Record<string, { history: History; fault: RegExp }> = {
    'two messages are taken in the other order': {
      history: { ...base, takes: [{ ...first, ...interval(second) }, { ...second, ...interval(first) }, ...others] },
      fault: /too early for its place/,
    },
    'two messages change places': {
      history: {
        ...base,
        takes: [{ ...first, values: second.values }, { ...second, values: first.values }, ...others],
      },
      fault: /was taken as/,
    },
    'two messages are pushed in the other order than they were sent': {
      history: { ...base, pushes: base.pushes.map((push, at) => ({ ...push, ...interval(base.pushes[2 - at]) })) },
      fault: /pushed too early for its place/,
    },
    'a message is lost': { history: { ...base, takes: [first, ...others] }, fault: /was lost/ },
    'a message is taken twice': {
      history: { ...base, takes: [...base.takes, { ...second, ...instant(90) }] },
      fault: /was taken twice/,
    },
    'a message stands in the queue twice': {
      history: { ...base, pushes: [...base.pushes, { ...base.pushes[0], ...instant(35) }] },
      fault: /was pushed twice/,
    },
    'a message is pushed behind a gap': {
      history: { ...base, pushes: base.pushes.filter((_, at) => at !== 1) },
      fault: /not all before it/,
    },
    'a message comes from nowhere': {
      history: { ...base, takes: [...base.takes, { ...second, position: 3, values: [99] }] },
      fault: /never pushed/,
    },
    'a message is taken before it is pushed': {
      history: { ...base, takes: [{ ...first, ...instant(-20) }, second, ...others] },
      fault: /taken too early for its place/,
    },
    'a receive finds nothing where a message was not taken': {
      history: { ...base, emptyLooks: [{ lane: 0, position: 2, ...instant(25) }] },
      fault: /before all before it were taken/,
    },
    'a receive finds nothing where a message was pushed long ago': {
      history: { ...base, emptyLooks: [{ lane: 0, position: 1, ...instant(38) }] },
      fault: /pushed too early for its place/,
    },
    'a send is refused while a block is free': {
      history: { ...historyOf([push, push, take, take]), refusals: [instant(15)] },
      fault: /refused .*with 2 of 3/,
    },
    'a lower message is taken before a higher one': {
      history: {
        ...prioritised,
        takes: [
          { ...prioritised.takes[0], ...interval(prioritised.takes[1]) },
          { ...prioritised.takes[1], ...interval(prioritised.takes[0]) },
        ],
        emptyLooks: [],
      },
      fault: /was taken before 1 \(lane 1/,
    },
  }
  it.each(Object.entries(wrong))('tells if %s', (_, { history, fault }) => {
    expect(faultsOf(history).join('; ')).toMatch(fault)
  })

  it('tells of each change of a history that is not only one of overlapping calls', () => {
    const instants = steps.map((steps) => historyOf(steps.map((step) => ({ ...step, before: 1, after: 1 }))))
    const change = fc.constantFrom('swap', 'drop', 'double', 'false-empty', 'false-full')
    let changes = 0
    fc.assert(
      fc.property(instants, change, fc.nat(), (history, change, at) => {
        const changed = changedHistory(history, change, at)
        if (changed === undefined) return
        changes++
        expect(faultsOf(changed)).not.toEqual([])
      }),
      { numRuns: 300 },
    )
    expect(changes).toBeGreaterThan(50)
  })
})

function interval({ startNs, endNs }: Interval): Interval {
  return { startNs, endNs }
}

/** The history with one fault; undefined if it has no place for it. */
function changedHistory(history: History, change: string, at: number): History | undefined {
  const { takes, pushes } = history
  if (takes.length < 2) return undefined
  const take = takes[at % takes.length]
  const next = takes[(at % takes.length) + 1]
  const pushOf = ({ lane, position }: Take) => pushes.find((push) => push.lane === lane && push.position === position)
  switch (change) {
    case 'drop':
      return { ...history, takes: takes.filter((other) => other !== take) }
    case 'double':
      return { ...history, takes: [...takes, { ...take, startNs: take.startNs + 1000, endNs: take.endNs + 1000 }] }
    case 'swap':
      if (next === undefined || next.lane !== take.lane) return undefined
      return {
        ...history,
        takes: takes.map((other) => {
          if (other === take) return { ...take, ...interval(next) }
          return other === next ? { ...next, ...interval(take) } : other
        }),
      }
    case 'false-empty': {
      // While this message was in the queue, there was nothing at its position.
      const push = pushOf(take)
      if (push === undefined || push.endNs + 2 > take.startNs) return undefined
      const moment = push.endNs + 1
      const look = { lane: take.lane, position: take.position, startNs: moment, endNs: moment }
      return { ...history, emptyLooks: [...history.emptyLooks, look] }
    }
    default: {
      // Right before the first push, everything is free.
      const moment = Math.min(...pushes.map(({ startNs }) => startNs)) - 5
      return { ...history, refusals: [...history.refusals, { startNs: moment, endNs: moment }] }
    }
  }
}
