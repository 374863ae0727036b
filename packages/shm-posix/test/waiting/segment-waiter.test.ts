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
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { mutex, type PeerId } from '@isthmus/sync'
import { nowMs, pendingWaits, slotOf } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { soon, until } from '../../../sync/test/support/waiting.js'
import { Segment } from '../../src/index.js'
import { holdFifo } from '../../src/thread/fifo.js'
import { BESIDE } from '../../src/thread/fifo-place.js'
import { Child, endAllChildren, inChild } from '../support/child.js'
import { endpointBeside, fifoPath, HeldFifo, threadOf } from '../support/fifos.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'
import { openDescriptors } from '../support/processes.js'

/** Of half of the deaths: the machine may stand still at some. */
const DEATH_TOLD_WITHIN_MS = 1000
const DEATHS = 15
const paths: string[] = []
const workers: Worker[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  HeldFifo.closeAll()
  for (const path of paths.splice(0)) rmSync(path, { force: true, recursive: true })
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()))
  await endAllChildren()
  removeEverything()
})

/** A process that tells its peer id, and then each poll of its event loop. */
async function startListener(name: string, listens = true): Promise<{ child: Child<unknown>; peer: PeerId }> {
  const child = Child.start(
    async (kit, { name, listens }) => {
      const { Segment, struct, u32, pendingWaits } = await kit.load()
      const segment = Segment.open(name, struct({ count: u32(), other: u32() }))
      pendingWaits.repoll = () => kit.tell('polled')
      if (listens) segment.waiter.listen()
      kit.tell(segment.peers.self)
      while ((await kit.hear()) !== 'close') await new Promise((resolve) => setImmediate(resolve))
      segment.close()
      kit.tell('closed')
      await kit.hear()
    },
    { name, listens },
  )
  return { child, peer: (await child.next()) as PeerId }
}

/** A worker that is attached, and closes when it gets a message. */
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

/** The part of a peers table that a test replaces. */
interface MockableTable {
  at(slot: number): number
  loopIdAt(slot: number): readonly number[]
  addressAt(slot: number): { place: number; uid: number }
}

function makeFifoByHand(path: string): void {
  execFileSync('mkfifo', ['-m', '600', path])
  paths.push(path)
}

/** Takes the lock of its thread, too: other tests, which prune at the same time, must not remove it. */
function openHeld(path: string): number {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  if (!holdFifo(fd)) throw new Error(`${path} was removed by another test`)
  return fd
}

describe('SegmentWaiter.wakeLoop()', () => {
  it('reaches the event loop of another process, which nothing but its wake FIFO wakes', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    for (let wakeUp = 0; wakeUp < 20; wakeUp++) {
      expect(segment.waiter.wakeLoop(peer)).toBe(true)
      expect(await child.next()).toBe('polled')
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
    await until(() => repoll.mock.calls.length > 0)
  })

  it('makes the event loop of its own thread poll without a FIFO', async () => {
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

  it('still works after more wake-ups than a FIFO holds, none of which was read', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    process.kill(child.pid, 'SIGSTOP')
    for (let wakeUp = 0; wakeUp < 70_000; wakeUp++) expect(segment.waiter.wakeLoop(peer)).toBe(true)
    process.kill(child.pid, 'SIGCONT')
    expect(await child.next()).toBe('polled')
    expect(segment.waiter.wakeLoop(peer)).toBe(true)
  })

  it('is false if the wake FIFO was never made, and leaves no descriptor', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { peer } = await startListener(name, false)
    const before = openDescriptors()
    for (let wakeUp = 0; wakeUp < 5; wakeUp++) expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(openDescriptors()).toEqual(before)
  })

  it.each([true, false])('is false after the peer was killed; woken before: %s', async (isWokenBefore) => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const before = openDescriptors()
    const { child, peer } = await startListener(name)
    if (isWokenBefore) expect(segment.waiter.wakeLoop(peer)).toBe(true)
    await child.kill()
    expect(segment.waiter.wakeLoop(peer)).toBe(false)
    expect(openDescriptors()).toEqual(before)
  })

  it('is false after the peer has closed', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { child, peer } = await startListener(name)
    expect(segment.waiter.wakeLoop(peer)).toBe(true)
    expect(await child.next()).toBe('polled')
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
  ])('never writes to %s in place of the wake FIFO', async (_, make) => {
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

  it('never follows a link to a FIFO', async () => {
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

  it.runIf(process.getuid?.() === 0)("does not write to a stranger's FIFO, unless strangers may attach", async () => {
    for (const [mode, isWoken] of [
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
      expect(segment.waiter.wakeLoop(peer)).toBe(isWoken)
      closeSync(reader)
    }
  })

  it.runIf(process.getuid?.() === 0)("tells another user's slot with the same loop id apart", () => {
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

  it('keeps at most 32 wake FIFOs open', async () => {
    const directory = pathOf(uniqueName())
    mkdirSync(directory)
    using segment = Segment.create({ file: join(directory, 'segment') }, counter)
    const before = openDescriptors().length
    const table = segment.peers as unknown as MockableTable
    const own = table.addressAt(slotOf(segment.peers.self))
    expect(own.place).toBe(BESIDE)
    vi.spyOn(table, 'at').mockImplementation((slot) => 128 + slot)
    vi.spyOn(table, 'loopIdAt').mockImplementation((slot) => [slot, 0x7e57])
    vi.spyOn(table, 'addressAt').mockImplementation(() => own)
    const fifos = Array.from({ length: 41 }, (_, slot) => {
      const thread = `00007e57${slot.toString(16).padStart(8, '0')}`
      return slot === 0 ? undefined : new HeldFifo(endpointBeside(directory, thread), 'wake')
    })
    const wake = (slot: number) => segment.waiter.wakeLoop((128 + slot) as PeerId)
    for (let slot = 1; slot <= 32; slot++) expect(wake(slot)).toBe(true)
    // The first one was used last, so eight others are closed.
    expect(wake(1)).toBe(true)
    for (let slot = 33; slot <= 40; slot++) expect(wake(slot)).toBe(true)
    expect(openDescriptors().length).toBe(before + 40 + 32)
    const links = openDescriptors()
    const isOpenTwice = (slot: number) => links.filter((link) => link === fifos[slot]?.path).length === 2
    expect([1, 2, 9, 10, 40].map(isOpenTwice)).toEqual([true, false, false, true, true])
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
    tally.report()
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
    // Not watched; watched from then on; watched already.
    expect(watched).toEqual(['never', 'from-now-on', 'already'])
  })

  it('opens one descriptor for each thread, and none for a dead one', async () => {
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
    await expect.poll(() => openDescriptors().length).toBe(before + 1)
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

  it('never opens a file in place of a liveness FIFO, and finds the true one through its process', async () => {
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
    await expect.poll(openDescriptors).toEqual(before)
  })
})

describe('SegmentWaiter.watch(), without ticks', () => {
  withoutSafetyNet()

  it('tells a pending wait of a death at once, also after the FIFOs were made anew', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, mutex())
    const child = Child.start(async (kit, name) => {
      const { Segment, mutex } = await kit.load()
      const segment = Segment.open(name, mutex())
      segment.root.lockSync()
      segment.waiter.listen()
      kit.tell(segment.peers.self)
      await kit.hear()
      // As a tick does, which checks the names every 100 ms.
      await new Promise((resolve) => setTimeout(resolve, 150))
      segment.waiter.listen()
      kit.tell('mended')
      await kit.hear()
    }, name)
    const peer = (await child.next()) as PeerId
    const locked = segment.root.lock()
    const fifo = fifoPath(threadOf(segment, peer), 'alive')
    await expect.poll(openDescriptors).toContain(fifo)
    for (const kind of ['alive', 'wake'] as const) rmSync(fifoPath(threadOf(segment, peer), kind))
    child.say('mend')
    expect(await child.next()).toBe('mended')
    await expect.poll(openDescriptors).not.toContain(`${fifo} (deleted)`)
    // From here on the death is told by the new FIFO, and not only found by the checks after the end of the old one.
    await expect.poll(openDescriptors).toContain(fifo)
    await child.kill()
    const guard = await soon(locked, 'the death')
    expect(guard.ownerDied).toBe(true)
    guard.markConsistent()
    guard.unlock()
  })
})

/** How long it takes until deaths are told, and how many checks come too early to prove them. */
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
    this.#tookMs.push(await soon(told, 'the death'))
  }

  report(): void {
    const sorted = this.#tookMs.sort((a, b) => a - b)
    const [medianMs, mostMs] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length - 1]]
    console.log(
      `${this.#what} was told after ${medianMs.toFixed(1)} ms (median), ${mostMs.toFixed(1)} ms at most; checks that came too early: ${this.#early}`,
    )
    expect(medianMs).toBeLessThan(DEATH_TOLD_WITHIN_MS)
  }
}
