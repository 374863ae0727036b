import type { Result } from '../harness/contest.js'
import { median } from '../harness/median.js'
import { formatQuantity } from './quantity.js'
import { byName, type ResultName } from './result-name.js'

interface Target {
  readonly text: string
  readonly measured: ResultName
  /** What it is compared with, round by round: the ratio is bounded. Otherwise the figure itself is. */
  readonly beside?: ResultName
  /** What is bounded instead of the figure: write calls of one side, for each message. */
  readonly writeCallsOf?: 'sender' | 'receiver'
  readonly atLeast?: number
  readonly atMost?: number
}

/** A target, and what a run has shown. */
export interface Judgement {
  readonly text: string
  readonly measured: string
  readonly beside: string
  readonly ratio: string
  readonly bound: string
  readonly isMet: boolean
}

const BEFORE = ' before'

const many = (work: string, subject: string): ResultName => `many-to-many-throughput / ${work} / ${subject}`
const oneToMany = (work: string, subject: string): ResultName => `one-to-many-throughput / ${work} / ${subject}`
const awaiting = (work: string, subject: string): ResultName => `awaiting-throughput / ${work} / ${subject}`
const roundTrip = (work: string, subject: string): ResultName => `ping-pong-latency / ${work} / ${subject}`

const targets: readonly Target[] = [
  ...['64 B', '1 KiB'].flatMap((work): Target[] => [
    {
      text: `${work}, await send and for await, against the corked socket`,
      measured: awaiting(work, 'isthmus'),
      beside: awaiting(work, 'unix-socket corked by 64'),
      atLeast: 1.5,
    },
    {
      text: `${work}, await send and for await, against the plain socket`,
      measured: awaiting(work, 'isthmus'),
      beside: awaiting(work, 'unix-socket'),
      atLeast: 8,
    },
  ]),
  ...(
    [
      ['64 B', 3],
      ['1 KiB', 2.5],
    ] as const
  ).map(
    ([work, atLeast]): Target => ({
      text: `${work}, sendBatch and batches, against the corked socket`,
      measured: awaiting(work, 'isthmus batches'),
      beside: awaiting(work, 'unix-socket corked by 64'),
      atLeast,
    }),
  ),
  {
    text: '64 B, sendBatch and forEachInPlace, against the corked socket',
    measured: awaiting('64 B', 'isthmus forEachInPlace'),
    beside: awaiting('64 B', 'unix-socket corked by 64'),
    atLeast: 5,
  },
  ...['64 KiB', '1 MiB'].map(
    (work): Target => ({
      text: `${work}, await send and for await, against the plain socket`,
      measured: awaiting(work, 'isthmus'),
      beside: awaiting(work, 'unix-socket'),
      atLeast: 2.5,
    }),
  ),
  {
    text: '64 MiB, await send and receive into memory, against the plain socket, which fills the same buffer too',
    measured: awaiting('64 MiB', 'isthmus into'),
    beside: awaiting('64 MiB', 'unix-socket'),
    atLeast: 2.5,
  },
  ...(['sender', 'receiver'] as const).map(
    (side): Target => ({
      text: `1 KiB, wake-ups for each message, by the ${side}`,
      measured: awaiting('1 KiB', 'isthmus'),
      writeCallsOf: side,
      atMost: 0.01,
    }),
  ),
  {
    text: 'round trip, event loops, hot, against the plain socket',
    measured: roundTrip('event loop, hot', 'isthmus'),
    beside: roundTrip('event loop, hot', 'unix-socket'),
    atMost: 0.08,
  },
  {
    text: 'round trip, event loops, after a pause, awaiting, against the plain socket',
    measured: roundTrip('event loop, cold', 'isthmus'),
    beside: roundTrip('event loop, cold', 'unix-socket'),
    atMost: 1.25,
  },
  {
    text: 'round trip, event loops, after a pause, forEach, against the plain socket',
    measured: roundTrip('event loop, cold', 'isthmus forEach'),
    beside: roundTrip('event loop, cold', 'unix-socket'),
    atMost: 1,
  },
  {
    text: 'round trip, blocked threads, after a pause, against a bare futex',
    measured: roundTrip('blocking, cold', 'isthmus'),
    beside: roundTrip('blocking, cold', 'bare futex'),
    atMost: 1.5,
  },
  {
    text: 'lock, hand-off to a sleeping waiter, against a native mutex',
    measured: 'lock-handoff / hand-off / isthmus',
    beside: 'lock-handoff / hand-off / native',
    atMost: 3,
  },
  ...['attach and close', 'attach and close, among 10,000', 'attach and close, another one held'].map(
    (work): Target => ({ text: work, measured: `attach-time / ${work} / isthmus`, atMost: 0.5e-3 }),
  ),
  { text: '2x2 64 B, one by one', measured: many('2x2 64 B', 'isthmus'), atLeast: 3e6 },
  {
    text: '2x2 64 B, one by one, against the native queue',
    measured: many('2x2 64 B', 'isthmus'),
    beside: many('2x2 64 B', 'native'),
    atLeast: 0.2,
  },
  { text: '2x2 64 B, packed', measured: many('2x2 64 B', 'isthmus packed'), atLeast: 8e6 },
  {
    text: '2x2 64 B, packed, against the native queue',
    measured: many('2x2 64 B', 'isthmus packed'),
    beside: many('2x2 64 B', 'native'),
    atLeast: 0.7,
  },
  // Each takes less than 5 µs.
  { text: '1 MiB by loan', measured: many('1x1 1 MiB loan', 'isthmus'), atLeast: 1 / 5e-6 },
  {
    text: '1 MiB by loan, against 64 KiB by loan',
    measured: many('1x1 1 MiB loan', 'isthmus'),
    beside: many('1x1 1 MiB loan', 'isthmus 64 KiB'),
    atLeast: 0.8,
  },
  ...['2x2 64 B', '4x4 64 B', '2x2 1 KiB'].map(
    (work): Target => ({
      text: `${work}, one by one, against ZeroMQ`,
      measured: many(work, 'isthmus'),
      beside: many(work, 'zeromq'),
      atLeast: 10,
    }),
  ),
  {
    text: '1x1 64 B, broadcast, batches of 64 in place, against the native ring',
    measured: oneToMany('1x1 64 B', 'isthmus spinning'),
    beside: oneToMany('1x1 64 B', 'native'),
    atLeast: 0.5,
  },
  {
    text: '1x1 64 B, broadcast, the same without gates',
    measured: oneToMany('1x1 64 B', 'isthmus lossy spinning'),
    beside: oneToMany('1x1 64 B', 'native lossy'),
    atLeast: 0.5,
  },
  ...(
    [
      ['zeromq', 20],
      ['shared-memory-disruptor', 3],
    ] as const
  ).map(
    ([beside, atLeast]): Target => ({
      text: `1x8 64 B, broadcast, publishBatch and forEachInPlace, against ${beside}`,
      measured: oneToMany('1x8 64 B', 'isthmus'),
      beside: oneToMany('1x8 64 B', beside),
      atLeast,
    }),
  ),
  ...['64 B, publishing', '64 B, publishing one by one'].flatMap((work) =>
    ['isthmus, 8 idle', 'isthmus, 8 asleep'].map(
      (subject): Target => ({
        text: `${work}, ${subject.slice('isthmus, '.length)}, against no subscriber`,
        measured: oneToMany(work, subject),
        beside: oneToMany(work, 'isthmus'),
        // Rounds of one build differ by as much.
        atLeast: 0.9,
      }),
    ),
  ),
  {
    text: 'three senders while a fourth is stopped',
    measured: many('4x2 64 B, one sender stopped', 'isthmus'),
    atLeast: 0.95,
  },
  ...['blocked consumer', 'awaiting consumer'].map(
    (work): Target => ({
      text: `idle, ${work}: a receiver of a queue, against a consumer of a ring`,
      measured: `idle-cost / ${work} / isthmus queue`,
      beside: `idle-cost / ${work} / isthmus`,
      // As below.
      atMost: 1.2,
    }),
  ),
  { text: '64 B, reading the latest value', measured: 'latest-value / 64 B read / isthmus', atLeast: 1e7 },
  ...(
    [
      ['unix-socket', 0.6],
      ['message-port', 0.4],
    ] as const
  ).map(
    ([beside, atMost]): Target => ({
      text: `8 MB frames to four viewers, CPU for each frame, against ${beside}`,
      measured: 'latest-value / 8 MB frames, 4 viewers / isthmus',
      beside: `latest-value / 8 MB frames, 4 viewers / ${beside}`,
      atMost,
    }),
  ),
  // What the report showed before these targets were set, with the spread of its rounds.
  { text: 'idle, a blocked consumer', measured: 'idle-cost / blocked consumer / isthmus', atMost: 0.1e-2 },
  { text: 'idle, an awaiting consumer', measured: 'idle-cost / awaiting consumer / isthmus', atMost: 0.1e-2 },
  {
    text: 'idle, 1000 awaiting consumers',
    measured: 'idle-cost / 1000 awaiting consumers / isthmus',
    atMost: 0.2e-2,
  },
  ...['blocked consumer', 'awaiting consumer', '1000 awaiting consumers'].map(
    (work): Target => ({
      text: `idle, ${work}, against the build before`,
      measured: `idle-cost / ${work} / isthmus`,
      beside: `idle-cost / ${work} / isthmus${BEFORE}`,
      // Rounds of one build differ by as much.
      atMost: 1.2,
    }),
  ),
  ...[
    '8 B claim/commit',
    '64 B claim/commit',
    '64 B claim/commit, one word',
    '64 B claim/commit, one by one',
    '1 KiB claim/commit',
    '8 B copying',
    '64 B copying',
    '1 KiB copying',
    '64 KiB copying',
    '1 MiB copying',
    '64 MiB copying',
  ].map(
    (work): Target => ({
      text: `spinning, ${work}, against the build before`,
      measured: `one-to-one-throughput / ${work} / isthmus`,
      beside: `one-to-one-throughput / ${work} / isthmus${BEFORE}`,
      // As above.
      atLeast: 0.95,
    }),
  ),
  {
    text: 'round trip, spinning, against the build before',
    measured: roundTrip('spinning', 'isthmus'),
    beside: roundTrip('spinning', `isthmus${BEFORE}`),
    atMost: 1.05,
  },
]

/** The targets of which these results tell whether they are met. */
export function judgeTargets(results: readonly Result[]): Judgement[] {
  const known = byName(results)
  return targets.flatMap((target) => {
    const measured = known.get(target.measured)
    const beside = target.beside === undefined ? undefined : known.get(target.beside)
    if (measured === undefined || (target.beside !== undefined && beside === undefined)) return []
    return [judgementOf(target, measured, beside)]
  })
}

/** What has to run so that all targets are judged. */
export function targetNames(): ResultName[] {
  const names = targets.flatMap(({ measured, beside }) => [measured, beside ?? measured])
  return names.map((name) => (name.endsWith(BEFORE) ? name.slice(0, -BEFORE.length) : name))
}

function judgementOf(target: Target, measured: Result, beside: Result | undefined): Judgement {
  const { text, writeCallsOf, atLeast = 0, atMost = Number.POSITIVE_INFINITY } = target
  const { unit } = measured
  const figure = writeCallsOf === undefined ? measured.median : measured.writeCallsPerMessage?.[writeCallsOf]
  if (figure === undefined) throw new Error(`Judging "${text}": nothing was counted`)
  const bounded = beside === undefined ? figure : ratioOf(measured, beside)
  const isRatio = beside !== undefined || writeCallsOf !== undefined
  const textOf = (value: number) => (isRatio ? formatRatio(value) : formatQuantity(value, unit))
  return {
    text,
    measured: writeCallsOf === undefined ? formatQuantity(figure, unit) : formatRatio(figure),
    beside: beside === undefined ? '' : formatQuantity(beside.median, unit),
    ratio: beside === undefined ? '' : formatRatio(bounded),
    bound: Number.isFinite(atMost) ? `≤ ${textOf(atMost)}` : `≥ ${textOf(atLeast)}`,
    isMet: bounded >= atLeast && bounded <= atMost,
  }
}

/** The subjects took turns, so whatever else the machine did in a round affected both: the median of the rounds' ratios. */
function ratioOf({ runs }: Result, { runs: runsBeside }: Result): number {
  return median(runs.map((value, round) => value / runsBeside[round]))
}

function formatRatio(ratio: number): string {
  if (ratio >= 100) return ratio.toFixed(0)
  return String(Number(ratio.toPrecision(ratio < 0.01 ? 1 : 3)))
}
