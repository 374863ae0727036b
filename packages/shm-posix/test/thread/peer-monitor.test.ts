import { pendingWaits } from '@isthmus/sync/internal'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../../sync/src/host/host.js'
import { sleep, until } from '../../../sync/test/support/waiting.js'
import { libc } from '../../src/native/libc.js'
import type { PeerEndpoint } from '../../src/thread/peer-endpoint.js'
import { PeerMonitor } from '../../src/thread/peer-monitor.js'
import { endpointBeside, HeldFifo } from '../support/fifos.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'

/** How often the monitor checks after a death: the proof may be there only a moment later. */
const CHECKS_MAX = 6
const onDeath = vi.fn<(key: string) => void>()
let directory: string
let monitor: PeerMonitor

beforeEach(() => {
  directory = temporaryDirectory()
  monitor = new PeerMonitor(onDeath)
})

afterEach(() => {
  monitor.close()
  vi.restoreAllMocks()
  onDeath.mockReset()
  HeldFifo.closeAll()
  removeEverything()
})

/** A thread that was killed: its FIFO still has its name. */
function goneThread(): PeerEndpoint {
  const endpoint = endpointBeside(directory)
  new HeldFifo(endpoint, 'alive').close()
  return endpoint
}

describe('PeerMonitor', () => {
  it('checks for dead peers a few times, however often waits ask to watch threads that are gone', async () => {
    // After a second it would open the FIFOs again, and begin with the checks anew.
    const nowMs = host.now()
    let round = 0
    vi.spyOn(host, 'now').mockImplementation(() => nowMs + round * 4)
    const reapDead = vi.spyOn(pendingWaits, 'reapDead').mockReturnValue()
    const open = vi.spyOn(libc(), 'open')
    const gone = Array.from({ length: 10 }, goneThread)
    for (; round < 50; round++) {
      for (const thread of gone) expect(monitor.watch(thread)).toBe('from-now-on')
      await sleep(4)
    }
    expect(open).toHaveBeenCalledTimes(gone.length)
    expect(reapDead.mock.calls.length).toBeGreaterThan(0)
    expect(reapDead.mock.calls.length).toBeLessThanOrEqual(CHECKS_MAX)
  })

  it('checks for dead peers a few times if many threads end together', async () => {
    const reapDead = vi.spyOn(pendingWaits, 'reapDead').mockReturnValue()
    const fifos = Array.from({ length: 10 }, () => {
      const thread = endpointBeside(directory)
      const fifo = new HeldFifo(thread, 'alive')
      expect(monitor.watch(thread)).toBe('from-now-on')
      return fifo
    })
    for (const fifo of fifos) fifo.close()
    await until(() => onDeath.mock.calls.length === fifos.length)
    await sleep(100)
    // One check at each end, and one series.
    expect(reapDead.mock.calls.length).toBeLessThanOrEqual(fifos.length + CHECKS_MAX)
  })

  it('opens the FIFO of a thread that was gone again after a second', () => {
    const { now } = host
    let passedMs = 0
    vi.spyOn(host, 'now').mockImplementation(() => now() + passedMs)
    const open = vi.spyOn(libc(), 'open')
    const thread = goneThread()
    for (let second = 1; second <= 3; second++) {
      for (let wait = 0; wait < 5; wait++) expect(monitor.watch(thread)).toBe('from-now-on')
      expect(open).toHaveBeenCalledTimes(second)
      passedMs += 1000
    }
  })

  it('polls all waits if a FIFO ends that its thread has made anew, and watches the new one', async () => {
    const repoll = vi.spyOn(pendingWaits, 'repoll')
    const thread = endpointBeside(directory)
    const first = new HeldFifo(thread, 'alive')
    expect([monitor.watch(thread), monitor.watch(thread)]).toEqual(['from-now-on', 'already'])
    first.deleteName()
    const second = new HeldFifo(thread, 'alive')
    first.close()
    await until(() => onDeath.mock.calls.length === 1)
    expect(repoll.mock.calls).toEqual([[]])
    expect([monitor.watch(thread), monitor.watch(thread)]).toEqual(['from-now-on', 'already'])
    second.close()
    await expect.poll(() => onDeath.mock.calls).toEqual([[thread.key], [thread.key]])
  })

  it('tells a FIFO of another user with the same number apart', async () => {
    const own = endpointBeside(directory)
    const theirs = endpointBeside(directory, own.thread, 65534)
    const [ownFifo, theirFifo] = [own, theirs].map((thread) => new HeldFifo(thread, 'alive'))
    expect([theirs, own, own].map((thread) => monitor.watch(thread))).toEqual(['from-now-on', 'from-now-on', 'already'])
    theirFifo.close()
    await expect.poll(() => onDeath.mock.calls).toEqual([[theirs.key]])
    expect(monitor.watch(own)).toBe('already')
    ownFifo.close()
    await expect.poll(() => onDeath.mock.calls).toEqual([[theirs.key], [own.key]])
  })
})
