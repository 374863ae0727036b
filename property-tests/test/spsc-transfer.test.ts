import { spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { HeapRegion } from '@isthmus/sync'
import { type AttachedRegion, planHeader } from '@isthmus/sync/internal'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent, type AgentKind, endAllAgents } from '../src/harness/agent.js'
import { contentOf, type Digest, digestOf } from '../src/harness/messages.js'
import type { RegionReference } from '../src/harness/regions.js'
import { startPositionsAt } from '../src/harness/ring-positions.js'
import type { ReceiveStep, SendStep } from '../src/harness/ring-scripts.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

/** What one run needs: the region, and how each side attaches to it. */
interface Place {
  readonly region: AttachedRegion<unknown>
  readonly forSender: RegionReference
  readonly forReceiver: RegionReference
  remove(): void
}
type Layout = ReturnType<typeof spscRing>

const kinds: { title: string; agents: AgentKind; runs: number; make(layout: Layout): Place }[] = [
  { title: 'processes over a named segment', agents: 'process', runs: 100, make: (layout) => named(layout, 'overlay') },
  { title: 'processes with different mappers', agents: 'process', runs: 30, make: (layout) => named(layout, 'view') },
  { title: 'threads over a segment handle', agents: 'thread', runs: 30, make: anonymous },
  { title: 'threads over a heap region', agents: 'thread', runs: 100, make: heap },
]

describe.each(kinds)('SpscRing between $title', ({ agents, runs, make }) => {
  let sender: Agent
  let receiver: Agent

  beforeAll(async () => {
    ;[sender, receiver] = await Promise.all([Agent.start('ring-agent', agents), Agent.start('ring-agent', agents)])
  })
  afterAll(async () => {
    await endAllAgents()
    removeTestSegments()
  })

  it('delivers what was sent, in order, with any calls on both sides', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(scenario(), async ({ capacityBytes, startPosition, sends, receives, seed }) => {
        const ring = { capacityBytes }
        const layout = spscRing(ring)
        const place = make(layout)
        try {
          const { rootByteOffset } = planHeader(layout)
          startPositionsAt({ words: place.region.words, rootByteOffset }, startPosition)
          const [received] = await Promise.all([
            receiver.call<Digest[]>('receive', { region: place.forReceiver, ring, steps: receives }),
            sender.call('send', { region: place.forSender, ring, steps: sends, seed }),
          ])
          const expected = sends.map(({ byteLength }, number) => digestOf(contentOf(seed, number, byteLength)))
          expect(received).toEqual(expected)
        } finally {
          place.remove()
        }
      }),
      { numRuns: runs },
    )
  })
})

function scenario() {
  return fc.integer({ min: 6, max: 13 }).chain((log2) => {
    const capacityBytes = 2 ** log2
    return fc.record({
      capacityBytes: fc.constant(capacityBytes),
      // Around the 32-bit wraps, where positions turn from positive to negative, and from negative to 0.
      startPosition: fc.constantFrom(
        0,
        -8,
        -capacityBytes,
        -(capacityBytes / 2) - 8,
        0x7ffffff8,
        0x7ffffff8 - capacityBytes,
      ),
      sends: fc.array(sendStep(capacityBytes), { minLength: 1, maxLength: 60 }),
      receives: receiveSteps,
      seed: fc.nat(),
    })
  })
}

function sendStep(capacityBytes: number): fc.Arbitrary<SendStep> {
  return fc.record({
    byteLength: fc.oneof(
      fc.nat({ max: 24 }),
      fc.nat({ max: capacityBytes / 2 }),
      fc.constantFrom(0, capacityBytes / 2 - 8, capacityBytes / 2 - 7, capacityBytes),
      fc.nat({ max: capacityBytes * 5 }),
    ),
    how: fc.constantFrom('sendSync', 'trySend', 'claim', 'abort-then-claim'),
    cork: fc.constantFrom('cork', 'uncork', 'as-it-is', 'as-it-is'),
  })
}

const receiveStep: fc.Arbitrary<ReceiveStep> = fc.oneof(
  fc.constantFrom<ReceiveStep>(
    { how: 'receiveSync' },
    { how: 'tryReceive' },
    { how: 'chunks' },
    { how: 'acknowledge' },
    { how: 'drain', limit: 1 },
    { how: 'drain', limit: 3 },
    { how: 'drain', limit: Number.POSITIVE_INFINITY },
  ),
)

/** At least one step receives: a script that only acknowledges would never end. */
const receiveSteps = fc
  .tuple(
    fc.array(receiveStep, { maxLength: 5 }),
    fc.constantFrom<ReceiveStep>({ how: 'receiveSync' }, { how: 'chunks' }),
  )
  .map(([steps, last]) => [...steps, last])

function named(layout: Layout, mapper: 'overlay' | 'view'): Place {
  const name = uniqueName()
  const region = Segment.create(name, layout)
  const remove = () => {
    region.close()
    Segment.unlink(name)
  }
  return { region, forSender: { name }, forReceiver: { name, mapper }, remove }
}

function anonymous(layout: Layout): Place {
  const region = Segment.createAnonymous(layout)
  return { region, forSender: region.handle, forReceiver: region.handle, remove: () => region.close() }
}

function heap(layout: Layout): Place {
  const region = HeapRegion.create(layout)
  return { region, forSender: region.handle, forReceiver: region.handle, remove: () => region.close() }
}
