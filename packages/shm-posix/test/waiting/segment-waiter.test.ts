import { execFileSync } from 'node:child_process'
import {
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { Worker } from 'node:worker_threads'
import { mutex, type PeerId } from '@isthmus/sync'
import { nowMs, pendingWaits, slotOf } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon } from '../../../sync/test/support/waiting.js'
import { Segment } from '../../src/index.js'
import { holdFifo } from '../../src/thread/fifo.js'
import { BESIDE } from '../../src/thread/fifo-place.js'
import { Child, endAllChildren, inChild } from '../support/child.js'
import { endpointBeside, fifoPath, HeldFifo, threadOf } from '../support/fifos.js'
import { counter } from '../support/ledger.js'
import { removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'
import { openDescriptors } from '../support/processes.js'

const DEATH_TOLD_WITHIN_MS = 1000
const DEATHS = 15
const paths: string[] = []
const workers: Worker[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  HeldFifo.letAllGo()
  for (const path of paths.splice(0)) rmSync(path, { force: true, recursive: true })
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
  await endAllChildren()
  removeEverything()
})

/** A process that tells its peer id, and then each time its event loop looks around. */
async function startListener(name: string, hears = true): Promise<{ child: Child<unknown>; peer: PeerId }> {
  const child = Child.start(
    async (kit, { name, hears }) => {
      const { Segment, struct, u32, pendingWaits } = await kit.load()
      const segment = Segment.open(name, struct({ count: u32(), other: u32() }))
      pendingWaits.repoll = () => kit.tell('rung')
      if (hears) segment.waiter.listen()
      kit.tell(segment.peers.self)
      while ((await kit.hear()) !== 'close') await new Promise((resolve) => setImmediate(resolve))
      segment.close()
      kit.tell('closed')
      await kit.hear()
    },
    { name, hears },
  )
  return { child, peer: (await child.next()) as PeerId }
}

/** Tells its peer id; what it does then is the test's affair. */
async function startWorker(segment: Segment<unknown>): Promise<{ worker: Worker; peer: PeerId }> {
  const built = new URL('../../dist/index.js', import.meta.url).href
  const sync = new URL('../../../sync/dist/index.js', import.meta.url).href
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    Promise.all([import(workerData.built), import(workerData.sync)]).then(([{ Segment }, { struct, u32 }]) => {
      const segment = Segment.attach(workerData.handle, struct({ count: u32(), other: u32() }))
      parentPort.on('message', () => segment.close())
      parentPort.postMessage(segment.peers.self)
    })`
  const worker = new Worker(program, { eval: true, execArgv: [], workerData: { built, sync, handle: segment.handle } })
  workers.push(worker)
  const peer = await new Promise<PeerId>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  return { worker, peer }
}

/** What a test can make a peers table say. */
interface MockableTable {
  at(slot: number): number
  loopIdAt(slot: number): readonly number[]
  addressAt(slot: number): { place: number; uid: number }
}

function makeFifoByHand(path: string): void {
  execFileSync('mkfifo', ['-m', '600', path])
  paths.push(path)
}

/** With the lock of its thread: other tests, which prune at the same time, must not take it for a leftover. */
function openHeld(path: string): number {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  if (!holdFifo(fd)) throw new Error(`${path} was taken for a leftover`)
  return fd
}

describe('SegmentWaiter.ring()', () => {
  it("reaches the event loop of another process, which nothing but the bell's FIFO wakes", async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    for (let ring = 0; ring < 20; ring++) {
      expect(segment.waiter.wakeLoop(peer)).toBe(true)
      expect(await child.next()).toBe('rung')
    }
  })

  it('reaches a thread of this process', async () => {
    const repoll = vi.spyOn(pendingWaits, 'repoll')
    using segment = Segment.createAnonymous(counter)
    segment.waiter.listen()
    const program = `
      const { parentPort, workerData } = require('node:worker_threads')
      Promise.all([import(workerData.built), import(workerData.sync)]).then(([{ Segment }, { struct, u32 }]) => {
        const segment = Segment.attach(workerData.handle, struct({ count: u32(), other: u32() }))
        parentPort.postMessage(segment.waiter.wakeLoop(workerData.peer))
        segment.close()
      })`
    const built = new URL('../../dist/index.js', import.meta.url).href
    const sync = new URL('../../../sync/dist/index.js', import.meta.url).href
    const workerData = { built, sync, handle: segment.handle, peer: segment.peers.self }
    const worker = new Worker(program, { eval: true, execArgv: [], workerData })
    workers.push(worker)
    expect(await new Promise((resolve) => worker.once('message', resolve))).toBe(true)
    await vi.waitFor(() => expect(repoll).toHaveBeenCalled())
  })

  it('rings its own thread without a FIFO', async () => {
    const repoll = vi.spyOn(pendingWaits, 'repoll')
    using segment = Segment.createAnonymous(counter)
    using other = Segment.attach(segment.handle, counter)
    expect([segment.waiter.wakeLoop(segment.peers.self), segment.waiter.wakeLoop(other.peers.self)]).toEqual([
      true,
      true,
    ])
    expect(repoll).not.toHaveBeenCalled()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(repoll).toHaveBeenCalledTimes(1)
  })

  it('is heard after any number of rings that nobody has heard yet', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    process.kill(child.pid, 'SIGSTOP')
    // More than a FIFO holds.
    for (let ring = 0; ring < 70_000; ring++) expect(segment.waiter.wakeLoop(peer)).toBe(true)
    process.kill(child.pid, 'SIGCONT')
    expect(await child.next()).toBe('rung')
    expect(segment.waiter.wakeLoop(peer)).toBe(true)
  })

  it('is false where the bell was never made, and leaves no descriptor', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { peer } = await startListener(name, false)
    const before = openDescriptors()
    for (let ring = 0; ring < 5; ring++) expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(openDescriptors()).toEqual(before)
  })

  it.each([true, false])('is false once the peer was killed; rung before: %s', async (isRungBefore) => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const before = openDescriptors()
    const { child, peer } = await startListener(name)
    if (isRungBefore) expect(segment.waiter.wakeLoop(peer)).toBe(true)
    await child.kill()
    expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(openDescriptors()).toEqual(before)
  })

  it('is false once the peer has closed', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    expect(segment.waiter.wakeLoop(peer)).toBe(true)
    expect(await child.next()).toBe('rung')
    child.say('close')
    expect(await child.next()).toBe('closed')
    expect(segment.waiter.wakeLoop(peer)).toBe(false)
  })

  it.each<[string, (path: string) => string | undefined]>([
    [
      'a regular file',
      (path) => {
        writeFileSync(path, 'precious')
        return path
      },
    ],
    [
      'a link to a regular file',
      (path) => {
        const target = `${temporaryDirectory()}/target`
        writeFileSync(target, 'precious')
        symlinkSync(target, path)
        return target
      },
    ],
    [
      'a directory',
      (path) => {
        mkdirSync(path)
        return undefined
      },
    ],
  ])('never writes to %s in the place of the bell', async (_, make) => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { peer } = await startListener(name, false)
    const path = fifoPath(threadOf(segment, peer), 'wake')
    paths.push(path)
    const content = make(path)
    const before = openDescriptors()
    expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(openDescriptors()).toEqual(before)
    if (content !== undefined) expect(readFileSync(content, 'utf8')).toBe('precious')
  })

  it('never writes to a FIFO that is led to by a link', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { peer } = await startListener(name, false)
    const target = `${temporaryDirectory()}/fifo`
    makeFifoByHand(target)
    const reader = openSync(target, constants.O_RDONLY | constants.O_NONBLOCK)
    const path = fifoPath(threadOf(segment, peer), 'wake')
    paths.push(path)
    symlinkSync(target, path)
    expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(readSync(reader, new Uint8Array(1))).toBe(0)
    closeSync(reader)
  })

  it.runIf(process.getuid?.() === 0)("does not ring a stranger's FIFO, unless strangers may attach", async () => {
    for (const [mode, isRung] of [
      [0o600, false],
      [0o666, true],
    ] as const) {
      const name = uniqueName()
      using segment = Segment.create(name, counter, { mode })
      const { peer } = await startListener(name, false)
      const path = fifoPath(threadOf(segment, peer), 'wake')
      makeFifoByHand(path)
      const reader = openHeld(path)
      execFileSync('chown', ['65534', path])
      expect(segment.waiter.wakeLoop(peer)).toBe(isRung)
      closeSync(reader)
    }
  })

  it.runIf(process.getuid?.() === 0)("is not led astray by another user's slot with the same loop id", () => {
    const STRANGER = 65534
    const directory = temporaryDirectory()
    using open = Segment.create({ file: `${directory}/open` }, counter, { mode: 0o666 })
    using own = Segment.create({ file: `${directory}/own` }, counter, { mode: 0o600 })
    const thread = '00007e5700000001'
    const theirs = new HeldFifo(endpointBeside(directory, thread, STRANGER), 'wake')
    const ours = new HeldFifo(endpointBeside(directory, thread, 0), 'wake')
    chownSync(theirs.path, STRANGER, STRANGER)
    for (const [segment, uid] of [
      [open, STRANGER],
      [own, 0],
    ] as const) {
      const table = segment.peers as unknown as MockableTable
      vi.spyOn(table, 'at').mockImplementation((slot) => 128 + slot)
      vi.spyOn(table, 'loopIdAt').mockReturnValue([1, 0x7e57])
      vi.spyOn(table, 'addressAt').mockReturnValue({ place: BESIDE, uid })
    }
    for (let round = 0; round < 3; round++) {
      expect(open.waiter.wakeLoop((128 + 1) as PeerId)).toBe(true)
      expect([theirs.read(), ours.read()]).toEqual([4, 0])
      expect(own.waiter.wakeLoop((128 + 1) as PeerId)).toBe(true)
      expect([theirs.read(), ours.read()]).toEqual([0, 4])
    }
  })

  it('keeps no more than 32 bells open', async () => {
    using segment = Segment.create(uniqueName(), counter)
    const before = openDescriptors().length
    const table = segment.peers as unknown as MockableTable
    const own = table.addressAt(slotOf(segment.peers.self))
    const readers: number[] = []
    vi.spyOn(table, 'at').mockImplementation((slot) => 128 + slot)
    vi.spyOn(table, 'loopIdAt').mockImplementation((slot) => [slot, 0x7e57])
    vi.spyOn(table, 'addressAt').mockImplementation(() => own)
    const bellOf = (slot: number) => fifoPath(`00007e57${slot.toString(16).padStart(8, '0')}`, 'wake')
    for (let slot = 1; slot <= 40; slot++) {
      makeFifoByHand(bellOf(slot))
      readers.push(openHeld(bellOf(slot)))
    }
    const ring = (slot: number) => segment.waiter.wakeLoop((128 + slot) as PeerId)
    for (let slot = 1; slot <= 32; slot++) expect(ring(slot)).toBe(true)
    // The first is now the one used last; eight others have to go.
    expect(ring(1)).toBe(true)
    for (let slot = 33; slot <= 40; slot++) expect(ring(slot)).toBe(true)
    expect(openDescriptors().length).toBe(before + 40 + 32)
    const links = openDescriptors()
    const isOpenTwice = (slot: number) => links.filter((link) => link === bellOf(slot)).length === 2
    expect([1, 2, 9, 10, 40].map(isOpenTwice)).toEqual([true, false, false, true, true])
    for (const reader of readers) closeSync(reader)
  })
})

describe('SegmentWaiter.watch()', () => {
  it('tells within moments that a process was killed', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const tally = new DeathTally('SIGKILL')
    for (let death = 0; death < DEATHS; death++) {
      const { child, peer } = await startListener(name, false)
      await tally.time(segment, peer, () => process.kill(child.pid, 'SIGKILL'))
      await child.exited
    }
    tally.report()
  })

  it('tells within moments that a worker was terminated', async () => {
    using segment = Segment.createAnonymous(counter)
    const tally = new DeathTally('worker.terminate()')
    for (let death = 0; death < DEATHS; death++) {
      const { worker, peer } = await startWorker(segment)
      await tally.time(segment, peer, () => void worker.terminate())
    }
    tally.report()
  })

  it('tells that a thread has closed its last segment, and that a process has ended', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const tally = new DeathTally('close')
    const { worker, peer } = await startWorker(segment)
    await tally.time(segment, peer, () => worker.postMessage('close'))
    const { child, peer: next } = await startListener(name)
    await tally.time(segment, next, () => process.kill(child.pid, 'SIGTERM'))
  })

  it('watches nothing, and throws nothing, while no descriptor is left', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const watched = await inChild(
      async ({ fs, load }, [segmentName, peer]: [string, PeerId]) => {
        const { Segment, struct, u32 } = await load()
        const opened = Segment.open(segmentName, struct({ count: u32(), other: u32() }))
        const fillers: number[] = []
        try {
          for (;;) fillers.push(fs.openSync('/dev/null', 'r'))
        } catch {
          // Full: nothing more can be opened.
        }
        const whileFull = opened.waiter.watch(peer)
        for (const filler of fillers) fs.closeSync(filler)
        return [whileFull, opened.waiter.watch(peer), opened.waiter.watch(peer)]
      },
      [name, segment.peers.self] as [string, PeerId],
      { wrapper: ['sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh'] },
    )
    // Not; not yet, and from now on; and so it was.
    expect(watched).toEqual(['never', 'from-now-on', 'already'])
  })

  it('opens one descriptor for each thread, once, and none where nothing lives', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    const before = openDescriptors().length
    for (let turn = 0; turn < 5; turn++) segment.waiter.watch(peer)
    expect(openDescriptors().length).toBe(before + 1)
    segment.waiter.watch(segment.peers.self)
    using another = Segment.create(uniqueName(), counter)
    expect(openDescriptors().length).toBe(before + 2)
    another.waiter.watch(another.peers.self)
    expect(openDescriptors().length).toBe(before + 2)
    await child.kill()
    await vi.waitFor(() => expect(openDescriptors().length).toBe(before + 1))
    for (let turn = 0; turn < 5; turn++) segment.waiter.watch(peer)
    expect(openDescriptors().length).toBe(before + 1)
  })

  it('ends with the last segment of the thread', async () => {
    const name = uniqueName()
    const before = openDescriptors()
    const segment = Segment.create(name, counter)
    const other = Segment.open(name, counter)
    const { peer } = await startListener(name)
    segment.waiter.listen()
    segment.waiter.watch(peer)
    expect(segment.waiter.wakeLoop(peer)).toBe(true)
    segment.close()
    expect(openDescriptors().filter((link) => link.endsWith('.alive'))).toHaveLength(2)
    other.close()
    expect(openDescriptors()).toEqual(before)
  })

  it('never opens what stands in the place of a life FIFO: it finds the true one through its process', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name, false)
    const path = fifoPath(threadOf(segment, peer), 'alive')
    const before = openDescriptors()
    const replacements = [
      () => writeFileSync(path, 'precious'),
      () => symlinkSync('/dev/null', path),
      () => mkdirSync(path),
      () => makeFifoByHand(path),
    ]
    paths.push(path)
    for (const replace of replacements) {
      rmSync(path, { force: true, recursive: true })
      replace()
      segment.waiter.watch(peer)
      expect(openDescriptors().filter((link) => !before.includes(link))).toEqual([`${path} (deleted)`])
    }
    await child.kill()
    await vi.waitFor(() => expect(openDescriptors()).toEqual(before))
  })
})

describe('SegmentWaiter.watch(), without ticks', () => {
  withoutSafetyNet()

  it('tells a pending wait at once of a death after the FIFOs were made anew', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mutex())
    const child = Child.start(async (kit, name) => {
      const { Segment, mutex } = await kit.load()
      const segment = Segment.open(name, mutex())
      segment.root.lockSync()
      segment.waiter.listen()
      kit.tell(segment.peers.self)
      await kit.hear()
      // As a tick does it, which looks after the names every 100 ms.
      await new Promise((resolve) => setTimeout(resolve, 150))
      segment.waiter.listen()
      kit.tell('mended')
      await kit.hear()
    }, name)
    const peer = (await child.next()) as PeerId
    const locked = segment.root.lock()
    const life = fifoPath(threadOf(segment, peer), 'alive')
    await vi.waitFor(() => expect(openDescriptors()).toContain(life))
    for (const kind of ['alive', 'wake'] as const) rmSync(fifoPath(threadOf(segment, peer), kind))
    child.say('mend')
    expect(await child.next()).toBe('mended')
    await vi.waitFor(() => expect(openDescriptors()).not.toContain(`${life} (deleted)`))
    // Not only the looks of the next second, which the end of the old one causes, would find the death.
    await vi.waitFor(() => expect(openDescriptors()).toContain(life))
    await child.kill()
    const guard = await soon(locked, 'the death')
    expect(guard.ownerDied).toBe(true)
    guard.markConsistent()
    guard.unlock()
  })
})

/** How long deaths take to be told, and how often the first look comes too early to prove them. */
class DeathTally {
  readonly #what: string
  readonly #tookMs: number[] = []
  #early = 0

  constructor(what: string) {
    this.#what = what
  }

  async time(segment: Segment<unknown>, peer: PeerId, kill: () => void): Promise<void> {
    segment.waiter.watch(peer)
    const startedMs = nowMs()
    const told = new Promise<number>((resolve) => {
      const spy = vi.spyOn(pendingWaits, 'reapDead').mockImplementation(() => {
        if (!segment.peers.isDead(peer)) {
          this.#early++
          return
        }
        spy.mockRestore()
        resolve(nowMs() - startedMs)
      })
    })
    kill()
    const tookMs = await told
    this.#tookMs.push(tookMs)
    expect(tookMs).toBeLessThan(DEATH_TOLD_WITHIN_MS)
  }

  report(): void {
    const sorted = this.#tookMs.sort((a, b) => a - b).map((ms) => ms.toFixed(1))
    console.log(
      `${this.#what} was told after ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms at most; looks that came too early: ${this.#early}`,
    )
  }
}
