import { copyFileSync, linkSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import type { Assignment } from '../harness/assignment.js'
import type { Contest, Outcome } from '../harness/contest.js'
import { percentile } from '../harness/percentile.js'
import { type Place, SHARED_MEMORY } from '../harness/place.js'
import { runAgents } from '../harness/run-agents.js'
import { nativeAttach } from '../subjects/native.js'
import type { Scenario } from './scenario.js'

const SCENARIO = 'attach-time'
const CAPACITY_BYTES = 64 * 1024 * 1024
const PAGE_BYTES = 4096
const PAGE_WORDS = PAGE_BYTES / 4
/** The value of each word that is read: four bytes of 1. */
const WRITTEN = 0x01010101
/** The first attaches are not counted: code is still being compiled. */
const UNCOUNTED_SHARE = 1 / 4

/** To segments that are as large as many messages need. */
const largeWorks = ['attach to 64 MiB', 'attach to 64 MiB, take its bytes', 'attach to 64 MiB, read all pages'] as const
type LargeWork = (typeof largeWorks)[number]

/** To the only segment that the thread has, beside few others or many; or while it holds another one. */
const smallWorks = ['attach and close', 'attach and close, among 10,000', 'attach and close, another one held'] as const
type SmallWork = (typeof smallWorks)[number]

const CROWD = 10_000

const layout = spscRing({ capacityBytes: CAPACITY_BYTES })
const smallLayout = spscRing({ capacityBytes: PAGE_BYTES })

/** How long it takes until an existing segment can be used. */
export const attachTime: Scenario = {
  name: SCENARIO,
  contests: [...largeWorks.map(contestOf), ...smallWorks.map(smallContestOf)],
  takePart,
}

interface Report {
  readonly samplesNs: readonly number[]
}

function contestOf(work: LargeWork): Contest {
  const readsAll = work === 'attach to 64 MiB, read all pages'
  const task = { scenario: SCENARIO, work, subject: 'isthmus', arrangement: 'alone' } as const
  return {
    scenario: SCENARIO,
    work,
    unit: 's',
    contestants: [
      {
        subject: 'isthmus',
        run: async (context) => outcomeOf((await runAgents<Report>(task, context)).first.samplesNs),
      },
      {
        subject: 'native',
        prepare: nativeAttach.prepare,
        run: async (context) => outcomeOf(await nativeAttach.samples(CAPACITY_BYTES, readsAll, context)),
      },
    ],
  }
}

function smallContestOf(work: SmallWork): Contest {
  const task = { scenario: SCENARIO, work, subject: 'isthmus', arrangement: 'alone' } as const
  return {
    scenario: SCENARIO,
    work,
    unit: 's',
    contestants: [
      {
        subject: 'isthmus',
        run: async (context) => outcomeOf((await runAgents<Report>(task, context)).first.samplesNs),
      },
    ],
  }
}

function outcomeOf(samplesNs: readonly number[]): Outcome {
  return { value: percentile(samplesNs, 0.5) / 1e9, samplesNs }
}

async function takePart(assignment: Assignment): Promise<Report> {
  const smallWork = smallWorks.find((name) => name === assignment.work)
  return smallWork === undefined ? attachToLarge(assignment) : attachAndClose(smallWork, assignment)
}

async function attachAndClose(work: SmallWork, { place, pace }: Assignment): Promise<Report> {
  const name = `${place.segmentPrefix}small`
  Segment.create(name, smallLayout).close()
  if (work === 'attach and close, among 10,000') makeCrowd(name, place)
  const held = work === 'attach and close, another one held' ? Segment.create(`${name}-held`, smallLayout) : undefined
  const samplesNs: number[] = []
  const uncounted = Math.ceil(pace.coldSamples * UNCOUNTED_SHARE)
  for (let sample = 0; sample < uncounted + pace.coldSamples; sample++) {
    const startMs = performance.now()
    Segment.open(name, smallLayout).close()
    if (sample >= uncounted) samplesNs.push(Math.round((performance.now() - startMs) * 1e6))
  }
  held?.close()
  return { samplesNs }
}

/** Names of one copy, which takes no more memory than one. All names of a place are removed after the run. */
function makeCrowd(name: string, { segmentPrefix }: Place): void {
  const pathOf = (copy: number) => join(SHARED_MEMORY, `${segmentPrefix}copy-${copy}`)
  copyFileSync(join(SHARED_MEMORY, name), pathOf(0))
  for (let copy = 1; copy < CROWD; copy++) linkSync(pathOf(0), pathOf(copy))
}

async function attachToLarge({ work, place, pace }: Assignment): Promise<Report> {
  const name = `${place.segmentPrefix}large`
  const creator = Segment.create(name, layout)
  // So that all of its pages exist, as they do in a segment that is used.
  creator.bytes.fill(1, creator.bytes.length - CAPACITY_BYTES)
  const collectGarbage = garbageCollector()
  const samplesNs: number[] = []
  const uncounted = Math.ceil(pace.coldSamples * UNCOUNTED_SHARE)
  for (let sample = 0; sample < uncounted + pace.coldSamples; sample++) {
    const startMs = performance.now()
    const segment = Segment.open(name, layout)
    const { words } = segment
    const pages = work === 'attach to 64 MiB, read all pages' ? CAPACITY_BYTES / PAGE_BYTES : 1
    let sum = 0
    for (let page = 1; page <= pages; page++) sum += words[words.length - page * PAGE_WORDS] === WRITTEN ? 1 : 0
    if (work === 'attach to 64 MiB, take its bytes') sum += segment.bytes[segment.bytes.length - 1] - 1
    const elapsedMs = performance.now() - startMs
    segment.close()
    // Collects what the samples before have left; a program that attaches once has nothing to collect.
    collectGarbage()
    if (sum !== pages) throw new Error(`Attaching: ${sum} of ${pages} pages have what was written`)
    if (sample >= uncounted) samplesNs.push(Math.round(elapsedMs * 1e6))
  }
  creator.close()
  return { samplesNs }
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc')
}
