import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Segment, type SegmentFile } from '@isthmus/shm-posix'
import type { PeerId } from '@isthmus/sync'
import { nowMs } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { isWhole, type Outcome, type RaceAction, subject, track } from '../src/harness/segment-subject.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const RACES = Number(process.env.ISTHMUS_RACES ?? 200)
const CREATOR_KILLS = Number(process.env.ISTHMUS_CREATOR_KILLS ?? 30)
const CYCLES = Number(process.env.ISTHMUS_CYCLES ?? 5_000)
const TERMINATIONS = Number(process.env.ISTHMUS_TERMINATIONS ?? 50)
const TEST_TIMEOUT = { timeout: 300_000 }

const directories: string[] = []

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
  for (const directory of directories.splice(0)) rmSync(directory, { force: true, recursive: true })
})

describe('two processes that create the same name', () => {
  it(`make one segment, ${RACES} times over: one succeeds, the other one gets an error`, TEST_TIMEOUT, async () => {
    const rounds = await race(['create', 'create'], { isThere: false })
    for (const outcomes of rounds) {
      expect(outcomes.map(({ code }) => code ?? 'won').sort()).toEqual(['EEXIST', 'won'])
      expectOneUnderTheName(outcomes)
    }
    // If one racer always won, there was no race.
    expect(new Set(rounds.map(([first]) => first.code)).size).toBe(2)
  })

  it(`with openOrCreate get the same segment, ${RACES} times over`, TEST_TIMEOUT, async () => {
    const rounds = await race(['openOrCreate', 'openOrCreate'], { isThere: false })
    for (const outcomes of rounds) {
      expect(outcomes.map(({ code }) => code)).toEqual([undefined, undefined])
      expect(outcomes[0].segmentId).toBe(outcomes[1].segmentId)
      expect(outcomes[0].creator).toBe(outcomes[1].creator)
      expectOneUnderTheName(outcomes)
    }
    expect(new Set(rounds.map(([first]) => first.creator)).size).toBe(2)
  })
})

describe('prune', () => {
  it.each<RaceAction>(['open', 'openOrCreate'])(
    `never removes a segment that a racer has open, against %s, ${RACES} times over`,
    TEST_TIMEOUT,
    async (action) => {
      const rounds = await race(['prune', action], { isThere: true })
      for (const [pruner, opener] of rounds) {
        expect(['pruned', 'kept']).toContain(pruner.code)
        if (opener.segmentId === undefined) {
          expect([action, opener.code, pruner.code]).toEqual(['open', 'ENOENT', 'pruned'])
        } else {
          // The inode right after it was opened, and after another prune.
          expect(opener.namedInodes).toEqual([opener.inode, opener.inode])
          expect(opener.isWhole).toBe(true)
          expect(opener.segmentId === pruner.oldId).toBe(pruner.code === 'kept')
        }
      }
      expect(new Set(rounds.map(([pruner]) => pruner.code)).size).toBe(2)
    },
  )

  it(`leaves two callers of openOrCreate with one segment, ${RACES} times over`, TEST_TIMEOUT, async () => {
    const rounds = await race(['prune', 'openOrCreate', 'openOrCreate'], { isThere: true })
    for (const [, ...openers] of rounds) {
      expect(openers.map(({ code }) => code)).toEqual([undefined, undefined])
      expect(openers[0].segmentId).toBe(openers[1].segmentId)
      for (const { namedInodes, inode } of openers) expect(namedInodes).toEqual([inode, inode])
    }
  })
})

describe('unlink', () => {
  it.each<[string, RaceAction[]]>([
    ['open', ['open']],
    ['openOrCreate', ['openOrCreate']],
    ['two openOrCreate', ['openOrCreate', 'openOrCreate']],
    ['open and openOrCreate', ['open', 'openOrCreate']],
  ])(
    `leaves the old segment without its name, or one new segment with it, against %s, ${RACES} times over`,
    TEST_TIMEOUT,
    async (_, openings) => {
      const rounds = await race(['unlink', ...openings], { isThere: true })
      for (const [remover, ...openers] of rounds) {
        expect(remover.code).toBeUndefined()
        for (const [at, opener] of openers.entries()) {
          if (opener.segmentId === undefined) expect([openings[at], opener.code]).toEqual(['open', 'ENOENT'])
          else expect(opener.isWhole).toBe(true)
        }
        const attached = openers.filter(({ segmentId }) => segmentId !== undefined)
        const [old, fresh] = [true, false].map((isOld) =>
          attached.filter(({ segmentId }) => (segmentId === remover.oldId) === isOld),
        )
        for (const { inode, namedInodes } of old) expect(namedInodes[1]).not.toBe(inode)
        expect(new Set(fresh.map(({ segmentId }) => segmentId)).size).toBeLessThanOrEqual(1)
        for (const { inode, namedInodes } of fresh) expect(namedInodes).toEqual([inode, inode])
      }
      const kinds = rounds.map(([remover, opener]) => opener.segmentId === remover.oldId)
      expect(new Set(kinds).size).toBe(2)
    },
  )
})

describe('two processes that close a segment file at the same time', () => {
  it(`leave it flushed, ${RACES} times over`, TEST_TIMEOUT, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-test-'))
    directories.push(directory)
    const rounds = await onTrack<boolean>(2, 'closeRace', { directory })
    expect(rounds.filter((flushed) => !flushed.every(Boolean))).toEqual([])
  })
})

describe('a process that creates and removes, and is killed', () => {
  it.each([
    ['without a name', false, CREATOR_KILLS],
    ['under a temporary name', true, Math.ceil(CREATOR_KILLS / 4)],
  ])(
    'leaves the name absent or whole, making files %s (temporary: %s), %i times over',
    TEST_TIMEOUT,
    async (...task) => {
      const [, isTemporary, kills] = task
      const agents = startAhead()
      const seen = { absent: 0, whole: 0, unfinished: 0 }
      for (let kill = 0; kill < kills; kill++) {
        const agent = await agents.next()
        // The directory is in memory, and contains only this segment and its leftovers.
        const directory = `/dev/shm${uniqueName()}`
        const where = { file: `${directory}/segment` }
        mkdirSync(directory)
        agent.tell('comeAndGo', { where, isTemporary })
        await untilNotEmpty(directory)
        await spin(Math.random() * 4)
        agent.signal('SIGKILL')
        await agent.exited

        // The folder contains the FIFOs of the killed thread.
        const others = readdirSync(directory).filter((fileName) => !/^\.isthmus-\d+$/.test(fileName))
        const unfinished = others.filter((fileName) => fileName !== 'segment')
        seen.unfinished += unfinished.length
        if (!isTemporary) expect(unfinished).toEqual([])
        for (const fileName of unfinished) expect(fileName).toMatch(/^\.isthmus-/)
        const named = openIfThere(where)
        seen[named === undefined ? 'absent' : 'whole']++
        if (named !== undefined) {
          expect(isWhole(named.root)).toBe(true)
          expect(named.peers.list().filter(({ isDead }) => !isDead)).toHaveLength(1)
          named.close()
          Segment.unlink(where)
        }
        expect(existsSync(where.file)).toBe(false)
        Segment.create(where, subject).close()
        Segment.unlink(where)
        // The next creator has removed them.
        expect(readdirSync(directory).filter((fileName) => !fileName.endsWith('.unfinished'))).toEqual([])
        rmSync(directory, { recursive: true })
      }
      // How often each outcome came about depends on timing; each of them was checked.
      expect(seen.absent + seen.whole).toBe(kills)
    },
  )
})

describe('a remover that is killed between its two steps', () => {
  it.each<[RaceAction, string | undefined]>([
    ['open', 'ENOENT'],
    ['create', undefined],
    ['openOrCreate', undefined],
    ['unlink', undefined],
  ])('is completed by the next caller of %s', TEST_TIMEOUT, async (action, code) => {
    const name = uniqueName()
    using old = Segment.create(name, subject)
    const agent = await Agent.start('segment-agent')
    agent.tell('dieRemoving', { name })
    await agent.exited
    const { ino } = statSync(`/dev/shm${name}`)
    expect(statSync(old.handle.path).ino).toBe(ino)
    expect(Segment.list().some((description) => description.name === name)).toBe(false)

    let segment: Segment<Int32Array> | undefined
    const attempt = () => {
      if (action === 'unlink') Segment.unlink(name)
      else if (action !== 'prune') segment = Segment[action](name, subject)
    }
    if (code === undefined) attempt()
    else expect(attempt).toThrow(expect.objectContaining({ code }))
    expect(statSync(`/dev/shm${name}`, { throwIfNoEntry: false })?.ino).not.toBe(ino)
    expect(segment?.handle.segmentId).not.toBe(old.handle.segmentId)
    // Peers of the old segment still have it.
    expect(isWhole(old.root)).toBe(true)
    segment?.close()
  })
})

describe('a process that is stopped while it holds the header lock', () => {
  it('makes other callers fail as busy after their timeout, and all go on once it goes on', TEST_TIMEOUT, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, subject)
    const agent = await Agent.start('segment-agent')
    const letGo = agent.call('holdHeaderLock', { name })
    for (const deadline = nowMs() + 30_000; Atomics.load(segment.root, 2) === 0; ) {
      if (nowMs() > deadline) throw new Error('The lock was never taken')
      await spin(1)
    }
    agent.signal('SIGSTOP')
    const attempts = [
      () => Segment.open(name, subject, { lockTimeoutMs: 60 }),
      () => Segment.openOrCreate(name, subject, { lockTimeoutMs: 60 }),
      () => Segment.attach(segment.handle, subject, { lockTimeoutMs: 60 }),
      () => Segment.unlink(name, { lockTimeoutMs: 60 }),
    ]
    for (const attempt of attempts) {
      const startMs = nowMs()
      expect(attempt).toThrow(
        expect.objectContaining({
          code: 'ERR_ISTHMUS_BUSY',
          message: expect.stringContaining(`process ${agent.pid}`),
        }),
      )
      expect(nowMs() - startMs).toBeGreaterThanOrEqual(60)
    }
    // Attached peers do not need the lock, and the stopped process is not dead.
    Atomics.add(segment.root, 3, 1)
    expect(segment.peers.list().map(({ isDead }) => isDead)).toEqual([false, false])
    agent.signal('SIGCONT')
    expect(await letGo).toBe('let go')
    using other = Segment.open(name, subject)
    expect(isWhole(other.root)).toBe(true)
    Segment.unlink(name)
  })

  it('frees the lock when it is killed', TEST_TIMEOUT, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, subject)
    const agent = await Agent.start('segment-agent')
    agent.tell('holdHeaderLock', { name })
    while (Atomics.load(segment.root, 2) === 0) await spin(1)
    agent.signal('SIGSTOP')
    const opening = () => Segment.open(name, subject, { lockTimeoutMs: 0 })
    expect(opening).toThrow(expect.objectContaining({ code: 'ERR_ISTHMUS_BUSY' }))
    await agent.kill()
    opening().close()
  })
})

describe('a process that creates and closes segments', () => {
  it.each(['named', 'anonymous', 'view'] as const)(
    `keeps nothing of ${CYCLES} of them: %s`,
    TEST_TIMEOUT,
    async (kind) => {
      const agent = await Agent.start('segment-agent', 'process', ['--expose-gc'])
      const prefix = `${uniqueName()}-cycle-`
      const { before, after } = await agent.call<{ before: object; after: object }>('cycle', {
        prefix,
        cycles: CYCLES,
        kind,
      })
      expect(after).toEqual(before)
      expect(after).toMatchObject({ mappings: 0, files: 0 })
    },
  )

  it('gives back what it forgot to close, once it is collected', TEST_TIMEOUT, async () => {
    const name = uniqueName()
    using segment = Segment.create(name, subject)
    const agent = await Agent.start('segment-agent', 'process', ['--expose-gc'])
    const count = 20
    const { before, meanwhile, after, peers } = await agent.call<{
      before: Holdings
      meanwhile: Holdings
      after: Holdings
      peers: PeerId[]
    }>('forget', { name, count })
    expect(segment.root[2]).toBe(count)
    // One for each attachment, the thread's liveness FIFO, and its descriptor in reserve.
    expect(meanwhile.descriptors).toBe(before.descriptors + count + 2)
    expect(after).toEqual(before)
    // The process still runs; the kernel freed the slots when the descriptors were closed.
    expect(peers.map((peer) => segment.peers.isDead(peer))).toEqual(peers.map(() => true))
    expect(await agent.call('hello')).toBe('hello')
  })
})

interface Holdings {
  readonly mappings: number
  readonly descriptors: number
  readonly files: number
}

describe('a thread that is terminated while it is attached', () => {
  it.each(['overlay', 'view'] as const)(
    `is proven dead and leaves nothing in its process, ${TERMINATIONS} times over: %s`,
    TEST_TIMEOUT,
    async (mapper) => {
      using segment = Segment.createAnonymous(subject)
      await attachAndTerminate(segment, mapper)
      // At a thread's end V8 unmaps an overlay, and nothing unmaps a view.
      const holdings = () => ({
        mappings: mapper === 'view' ? 1 : mappingsOf(segment),
        descriptors: descriptorsOf(segment),
      })
      const before = holdings()
      const allBefore = readdirSync('/proc/self/fd').length
      for (let turn = 0; turn < TERMINATIONS; turn++) await attachAndTerminate(segment, mapper)
      expect(holdings()).toEqual(before)
      expect(before).toEqual({ mappings: 1, descriptors: 1 })
      // Threads of the runtime close their descriptors some time later.
      for (const deadline = nowMs() + 20_000; readdirSync('/proc/self/fd').length > allBefore; ) {
        if (nowMs() > deadline)
          throw new Error(`${readdirSync('/proc/self/fd').length} descriptors, before ${allBefore}`)
        await spin(5)
      }
      // The next attachment takes the slot of the dead peer.
      using next = Segment.attach(segment.handle, subject)
      expect(next.peers.list()).toHaveLength(2)
    },
  )
})

describe('a thread that is terminated while another one has its buffer', () => {
  it('is proven dead as well', TEST_TIMEOUT, async () => {
    using segment = Segment.createAnonymous(subject)
    const agent = await Agent.start('segment-agent', 'thread')
    const peer = await agent.call<PeerId>('attach', { handle: segment.handle, mapper: 'overlay' })
    const words = new Int32Array(await agent.call<SharedArrayBuffer>('giveBuffer'))
    await agent.kill()
    await untilDead(segment, peer)
    // The memory stays as long as the other thread has the buffer.
    const last = words.length - 1
    Atomics.store(words, last, 5)
    expect(segment.words[last]).toBe(5)
  })
})

async function attachAndTerminate(segment: Segment<Int32Array>, mapper: 'overlay' | 'view'): Promise<void> {
  const agent = await Agent.start('segment-agent', 'thread')
  const peer = await agent.call<PeerId>('attach', { handle: segment.handle, mapper })
  await agent.call('createAnonymous')
  expect(segment.peers.isDead(peer)).toBe(false)
  await agent.kill()
  await untilDead(segment, peer)
}

/** The runtime closes the descriptors of a thread a moment after it reports that the thread has ended. */
async function untilDead(segment: Segment<unknown>, peer: PeerId): Promise<void> {
  for (const deadline = nowMs() + 20_000; !segment.peers.isDead(peer); ) {
    if (nowMs() > deadline) throw new Error('The thread has ended, and its peer is not proven dead')
    await spin(1)
  }
}

function mappingsOf(segment: Segment<unknown>): number {
  const { ino } = statSync(segment.handle.path)
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return lines.filter((line) => line.includes(' rw-s ') && line.split(/\s+/)[4] === String(ino)).length
}

function descriptorsOf(segment: Segment<unknown>): number {
  const { ino, dev } = statSync(segment.handle.path)
  return readdirSync('/proc/self/fd').filter((fd) => {
    const open = statSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false })
    return open?.ino === ino && open.dev === dev
  }).length
}

/** Lets all racers act at once, round after round. Returns what they found, by round. */
function race(actions: RaceAction[], { isThere }: { isThere: boolean }): Promise<Outcome[][]> {
  return onTrack<Outcome>(actions.length, 'race', { name: uniqueName(), actions, isThere })
}

async function onTrack<R>(lanes: number, operation: string, parameters: object): Promise<R[][]> {
  const name = uniqueName()
  using _track = Segment.create(name, track)
  const agents = await Promise.all(Array.from({ length: lanes }, () => Agent.start('segment-agent')))
  const byLane = await Promise.all(
    agents.map((agent, lane) => agent.call<R[]>(operation, { ...parameters, track: name, lane, lanes, rounds: RACES })),
  )
  await Promise.all(agents.map((agent) => agent.kill()))
  return byLane[0].map((_, round) => byLane.map((results) => results[round]))
}

function expectOneUnderTheName(outcomes: Outcome[]): void {
  const attached = outcomes.filter(({ segmentId }) => segmentId !== undefined)
  expect(attached.length).toBeGreaterThan(0)
  for (const { inode, namedInodes, initialisations, isWhole } of attached) {
    expect(namedInodes).toEqual([inode, inode])
    expect([initialisations, isWhole]).toEqual([1, true])
  }
}

/** Starts the next process while this one is at work, since a start takes longer than the rest of a turn. */
function startAhead(): { next(): Promise<Agent> } {
  let started = Agent.start('segment-agent')
  return {
    next() {
      const agent = started
      started = agent.then(() => Agent.start('segment-agent'))
      // The last process is never used, and ends with the test.
      started.catch(() => undefined)
      return agent
    },
  }
}

function openIfThere(where: SegmentFile): Segment<Int32Array> | undefined {
  try {
    return Segment.open(where, subject)
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
}

async function untilNotEmpty(directory: string): Promise<void> {
  for (const deadline = nowMs() + 30_000; readdirSync(directory).length === 0; ) {
    if (nowMs() > deadline) throw new Error('No segment ever appeared')
    await new Promise(setImmediate)
  }
}

/** Waits more precisely than a timer. */
async function spin(durationMs: number): Promise<void> {
  for (const end = nowMs() + durationMs; nowMs() < end; ) await new Promise(setImmediate)
}
