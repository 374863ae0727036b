import { closeSync, existsSync, openSync, writeSync } from 'node:fs'
import { spscRing } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { barrier, mutex, rwLock, semaphore, struct } from '@isthmus/sync'
import { RETIRED, STATE_WORD } from '@isthmus/sync/internal'
import { isWhole, subject } from '../../harness/segment-subject.js'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'

type Root = Int32Array

function fileOf(name: string): string {
  return `/dev/shm${name}`
}

/**
 * Checks that the name leads to a whole segment or can be replaced by one, and that a prune removes it once it is
 * unused.
 */
function check({ name }: { name: string }): void {
  const existed = existsSync(fileOf(name))
  const segment = Segment.openOrCreate(name, subject)
  expect(isWhole(segment.root), 'The segment is not whole')
  if (existed) segment.root[3]++
  segment.close()
  expectEqual(Segment.prune({ prefix: name }), [name], 'What a prune removes')
  expect(!existsSync(fileOf(name)), 'The name is still there after a prune')
}

/**
 * Makes what a remover leaves that is killed between its two steps: a segment that is retired and still has its name.
 */
function retireByHand(name: string): void {
  Segment.create(name, subject).close()
  const fd = openSync(fileOf(name), 'r+')
  writeSync(fd, new Int32Array([RETIRED]), 0, 4, STATE_WORD * 4)
  closeSync(fd)
}

/** One of everything that a peer can hold. */
const belongings = struct({
  there: spscRing({ capacityBytes: 64 }),
  back: spscRing({ capacityBytes: 64 }),
  lock: mutex(),
  permits: semaphore({ permits: 2 }),
  shared: rwLock(),
  written: rwLock(),
  meeting: barrier({ onDeath: 'break' }),
})

export const segmentScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'segment: is created',
    layout: subject,
    isWithoutSegment: true,
    victim: ({ name }) => {
      return () => Segment.create(name, subject)
    },
    check,
  }),
  scenario({
    name: 'segment: is created by openOrCreate',
    layout: subject,
    isWithoutSegment: true,
    victim: ({ name }) => {
      return () => Segment.openOrCreate(name, subject)
    },
    check,
  }),
  scenario({
    name: 'segment: is created where a remover died',
    layout: subject,
    isWithoutSegment: true,
    prepare: ({ name }) => retireByHand(name),
    victim: ({ name }) => {
      return () => Segment.create(name, subject)
    },
    check(survivor) {
      check(survivor)
    },
  }),
  scenario({
    name: 'segment: is opened by openOrCreate where a remover died',
    layout: subject,
    isWithoutSegment: true,
    prepare: ({ name }) => retireByHand(name),
    victim: ({ name }) => {
      return () => Segment.openOrCreate(name, subject)
    },
    check,
  }),
  scenario({
    name: 'segment: is opened',
    layout: subject,
    isVictimDetached: true,
    victim: ({ name }) => {
      return () => Segment.open(name, subject)
    },
    check: checkAttached,
  }),
  scenario({
    name: 'segment: is closed',
    layout: subject,
    victim: ({ segment }) => {
      return () => segment.close()
    },
    check: checkAttached,
  }),
  scenario({
    name: 'segment: is closed by the last one',
    layout: subject,
    isWithoutSegment: true,
    victim: ({ name }) => {
      const segment = Segment.create(name, subject)
      return () => segment.close()
    },
    check,
  }),
  scenario({
    name: 'segment: is unlinked',
    layout: subject,
    isVictimDetached: true,
    victim: ({ name }) => {
      return () => Segment.unlink(name)
    },
    check(survivor) {
      // Attached peers keep the memory. The name leads to that segment, to none, or to a new one.
      expect(isWhole(survivor.root), 'The segment has changed under its attached peers')
      const isOurs = existsSync(fileOf(survivor.name))
      const segment = Segment.openOrCreate(survivor.name, subject)
      expect(isWhole(segment.root), 'The segment under the name is not whole')
      segment.root[3] = 7
      if (!isOurs) expect(survivor.root[3] === 0, 'A new segment has the content of the old one')
      segment.close()
      if (survivor.root[3] === 0) Segment.unlink(survivor.name)
      // The check for leftovers opens the segment by its name.
      if (!existsSync(fileOf(survivor.name))) Segment.create(survivor.name, subject).close()
    },
  }),
  scenario({
    name: 'segment: is pruned',
    layout: subject,
    isWithoutSegment: true,
    prepare({ name }) {
      for (const suffix of ['-a', '-b']) Segment.create(name + suffix, subject).close()
    },
    victim: ({ name }) => {
      return () => Segment.prune({ prefix: `${name}-` })
    },
    check({ name }) {
      Segment.prune({ prefix: `${name}-` })
      for (const suffix of ['-a', '-b']) check({ name: name + suffix })
    },
  }),
  scenario({
    name: 'segment: is pruned after the death of one who was attached',
    layout: subject,
    isWithoutSegment: true,
    prepare: (survivor) => survivor.bury(),
    predecessor: ({ name }) => {
      return () => Segment.create(`${name}-a`, subject)
    },
    victim: ({ name }) => {
      return () => Segment.prune({ prefix: `${name}-` })
    },
    check({ name }) {
      Segment.prune({ prefix: `${name}-` })
      expect(!existsSync(fileOf(`${name}-a`)), 'A prune leaves a segment of which all peers are dead')
      check({ name: `${name}-a` })
    },
  }),
  scenario({
    name: 'segment: is opened in the place of one who had something of everything',
    layout: belongings,
    isVictimDetached: true,
    prepare: (survivor) => survivor.bury(),
    predecessor({ root }) {
      return () => {
        root.there.producer().trySend(new Uint8Array(3))
        root.back.consumer()
        root.lock.lockSync()
        root.permits.acquireSync()
        root.shared.readLockSync()
        root.written.writeLockSync()
        root.meeting.join()
      }
    },
    victim: ({ name, layout }) => {
      return () => Segment.open(name, layout)
    },
    check(survivor) {
      const { there, back, lock, permits, shared, written, meeting } = survivor.newcomer().root
      const consumer = there.consumer()
      expectEqual(consumer.tryReceive()?.byteLength, 3, 'The message of the dead producer')
      there.producer().close()
      expectEqual(consumer.receiveSync({ timeoutMs: HAD_WITHIN_MS }), null, 'The end of the next producer')
      back.consumer().close()
      const guard = lock.lockSync({ timeoutMs: HAD_WITHIN_MS })
      expect(guard?.ownerDied === true, 'The lock does not report the death')
      guard.markConsistent()
      guard.unlock()
      const held = [1, 2].map(() => permits.acquireSync({ timeoutMs: HAD_WITHIN_MS }))
      expect(held.every(Boolean), 'A permit was lost')
      const writing = shared.writeLockSync({ timeoutMs: HAD_WITHIN_MS })
      expect(writing !== undefined && !writing.ownerDied, 'A dead reader is left')
      const repairing = written.writeLockSync({ timeoutMs: HAD_WITHIN_MS })
      expect(repairing?.ownerDied === true, 'The read-write lock does not report the death')
      expectEqual(meeting.describe().members, [], 'Members of the barrier')
      expect(meeting.describe().isBroken, 'A death did not break the barrier')
    },
  }),
]

function checkAttached(survivor: Survivor<Root>): void {
  expect(isWhole(survivor.root), 'The segment has changed')
  const newcomer = survivor.newcomer()
  newcomer.root[2] = 5
  expectEqual(survivor.root[2], 5, 'What a newcomer writes')
}
