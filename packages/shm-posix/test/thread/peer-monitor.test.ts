import { pendingWaits } from '@isthmus/sync/internal'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../../sync/src/host/host.js'
import { sleep } from '../../../sync/test/support/waiting.js'
import { libc } from '../../src/native/libc.js'
import type { PeerEndpoint } from '../../src/thread/peer-endpoint.js'
import { PeerMonitor } from '../../src/thread/peer-monitor.js'
import { endpointBeside, HeldFifo } from '../support/fifos.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'

/** How many looks a death is worth: it may show a moment later. */
const LOOKS_MAX = 6
const onDeath = vi.fn<(key: string) => void>()
let directory: string
let deathWatch: PeerMonitor

beforeEach(() => {
  directory = temporaryDirectory()
  deathWatch = new PeerMonitor(onDeath)
})

afterEach(() => {
  deathWatch.close()
  vi.restoreAllMocks()
  onDeath.mockReset()
  HeldFifo.letAllGo()
  removeEverything()
})

/** Of a thread that was killed: its FIFO has its name still. */
function goneThread(): PeerEndpoint {
  const endpoint = endpointBeside(directory)
  new HeldFifo(endpoint, 'alive').letGo()
  return endpoint
}

describe('PeerMonitor', () => {
  it('looks a few times for threads that are gone, however often waits ask for them', async () => {
    const reapDead = vi.spyOn(pendingWaits, 'reapDead').mockReturnValue()
    const open = vi.spyOn(libc(), 'open')
    const gone = Array.from({ length: 10 }, goneThread)
    for (let round = 0; round < 50; round++) {
      for (const thread of gone) expect(deathWatch.watch(thread)).toBe('from-now-on')
      await sleep(4)
    }
    expect(open).toHaveBeenCalledTimes(gone.length)
    expect(reapDead.mock.calls.length).toBeGreaterThan(0)
    expect(reapDead.mock.calls.length).toBeLessThanOrEqual(LOOKS_MAX)
  })

  it('looks a few times for all those that end together', async () => {
    const reapDead = vi.spyOn(pendingWaits, 'reapDead').mockReturnValue()
    const fifos = Array.from({ length: 10 }, () => {
      const thread = endpointBeside(directory)
      const fifo = new HeldFifo(thread, 'alive')
      expect(deathWatch.watch(thread)).toBe('from-now-on')
      return fifo
    })
    for (const fifo of fifos) fifo.letGo()
    await vi.waitFor(() => expect(onDeath).toHaveBeenCalledTimes(fifos.length))
    await sleep(100)
    // One at each end, and one series.
    expect(reapDead.mock.calls.length).toBeLessThanOrEqual(fifos.length + LOOKS_MAX)
  })

  it('asks again after a second whether a thread that was gone is there', () => {
    const { now } = host
    let passedMs = 0
    vi.spyOn(host, 'now').mockImplementation(() => now() + passedMs)
    const open = vi.spyOn(libc(), 'open')
    const thread = goneThread()
    for (let second = 1; second <= 3; second++) {
      for (let wait = 0; wait < 5; wait++) expect(deathWatch.watch(thread)).toBe('from-now-on')
      expect(open).toHaveBeenCalledTimes(second)
      passedMs += 1000
    }
  })

  it('asks for a look at everything if a FIFO ends that its thread has made anew, and watches the new one', async () => {
    const repoll = vi.spyOn(pendingWaits, 'repoll')
    const thread = endpointBeside(directory)
    const first = new HeldFifo(thread, 'alive')
    expect([deathWatch.watch(thread), deathWatch.watch(thread)]).toEqual(['from-now-on', 'already'])
    first.deleteName()
    const second = new HeldFifo(thread, 'alive')
    first.letGo()
    await vi.waitFor(() => expect(onDeath).toHaveBeenCalledTimes(1))
    expect(repoll.mock.calls).toEqual([[]])
    expect([deathWatch.watch(thread), deathWatch.watch(thread)]).toEqual(['from-now-on', 'already'])
    second.letGo()
    await vi.waitFor(() => expect(onDeath.mock.calls).toEqual([[thread.key], [thread.key]]))
  })

  it("takes another user's FIFO with the same number for another thread", async () => {
    const own = endpointBeside(directory)
    const theirs = endpointBeside(directory, own.thread, 65534)
    const [ownLife, theirLife] = [own, theirs].map((thread) => new HeldFifo(thread, 'alive'))
    expect([theirs, own, own].map((thread) => deathWatch.watch(thread))).toEqual([
      'from-now-on',
      'from-now-on',
      'already',
    ])
    theirLife.letGo()
    await vi.waitFor(() => expect(onDeath.mock.calls).toEqual([[theirs.key]]))
    expect(deathWatch.watch(own)).toBe('already')
    ownLife.letGo()
    await vi.waitFor(() => expect(onDeath.mock.calls).toEqual([[theirs.key], [own.key]]))
  })
})
