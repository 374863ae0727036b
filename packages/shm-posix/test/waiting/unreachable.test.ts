import type { PeerTable } from '@isthmus/sync/internal'
import { afterEach, expect, test, vi } from 'vitest'
import { host } from '../../../sync/src/host/host.js'
import { Segment } from '../../src/index.js'
import { counter } from '../support/ledger.js'

afterEach(() => {
  vi.restoreAllMocks()
})

test('The mark of a peer that could not be woken is taken back: twice at once, then with a warning, then after longer and longer times', () => {
  let nowMs = host.now()
  vi.spyOn(host, 'now').mockImplementation(() => nowMs)
  const emitWarning = vi.spyOn(process, 'emitWarning').mockReturnValue()
  using segment = Segment.createAnonymous(counter)
  const { waiter } = segment
  const peers = segment.peers as PeerTable
  const isUnreachable = () => {
    waiter.listen()
    expect(peers.list()[0].canBeWoken).toBe(!waiter.isUnreachable)
    return waiter.isUnreachable
  }
  const mark = () => {
    peers.noteUnreachable(peers.self)
    return isUnreachable()
  }
  expect([mark(), mark()]).toEqual([false, false])
  expect(emitWarning).not.toHaveBeenCalled()
  expect(mark()).toBe(false)
  for (const forgivenAfterMs of [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
    expect(mark()).toBe(true)
    nowMs += forgivenAfterMs - 1
    expect(isUnreachable()).toBe(true)
    nowMs += 1
    expect(isUnreachable()).toBe(false)
  }
  expect(emitWarning.mock.calls).toEqual([
    [
      expect.stringContaining('a peer could not reach its FIFOs'),
      expect.objectContaining({ code: 'ISTHMUS_UNREACHABLE' }),
    ],
  ])
})
