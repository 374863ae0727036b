import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { LOCK_PID_WORD, nowMs } from '@isthmus/sync'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { Patience, withHeaderLock } from '../../src/segment/header-lock.js'
import { Child, endAllChildren } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'

const descriptors: number[] = []

afterEach(async () => {
  for (const fd of descriptors.splice(0)) closeSync(fd)
  await endAllChildren()
  removeEverything()
})

function openTwice(): { path: string; one: number; other: number } {
  const path = pathOf(uniqueName())
  writeFileSync(path, Buffer.alloc(4096))
  const [one, other] = [openSync(path, 'r+'), openSync(path, 'r+')]
  descriptors.push(one, other)
  return { path, one, other }
}

function holderOf(path: string): number {
  return readFileSync(path).readInt32LE(LOCK_PID_WORD * 4)
}

describe('withHeaderLock()', () => {
  it('runs the action, names its holder meanwhile, and returns its result', () => {
    const { path, one } = openTwice()
    expect(
      withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new Patience(0), () => [holderOf(path), 'result']),
    ).toEqual([process.pid, 'result'])
    expect(holderOf(path)).toBe(0)
  })

  it('keeps others out, who say who has it once their time is up', () => {
    const { one, other } = openTwice()
    let hasRun = false
    withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new Patience(0), () => {
      const startMs = nowMs()
      const error = expectCode('ERR_ISTHMUS_BUSY', () => {
        withHeaderLock({ fd: other, subject: 'the segment /orders' }, 'attaching', new Patience(25), () => {
          hasRun = true
        })
      })
      expect(nowMs() - startMs).toBeGreaterThanOrEqual(25)
      expect(error.message).toMatch(new RegExp(`/orders.*process ${process.pid}.*lockTimeoutMs`))
    })
    expect(hasRun).toBe(false)
    expect(withHeaderLock({ fd: other, subject: 'it' }, 'attaching', new Patience(0), () => 'free')).toBe('free')
  })

  it('lets go where the action throws', () => {
    const { path, one, other } = openTwice()
    const broken = () =>
      withHeaderLock({ fd: one, subject: 'it' }, 'attaching', new Patience(0), () => {
        throw new Error('of the action')
      })
    expect(broken).toThrow('of the action')
    expect(holderOf(path)).toBe(0)
    expect(withHeaderLock({ fd: other, subject: 'it' }, 'attaching', new Patience(0), () => 'free')).toBe('free')
  })

  it('goes with a killed holder, whose name it may still bear', async () => {
    const path = pathOf(uniqueName())
    const name = path.slice('/dev/shm'.length)
    const child = Child.start(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      // Its sweep runs under the header lock.
      const layout = {
        ...struct({ count: u32(), other: u32() }),
        sweep() {
          process.kill(process.pid, 'SIGKILL')
        },
      }
      Segment.open(name, layout)
    }, name)
    {
      using segment = Segment.create(name, counter)
      segment.words[(128 + 64) / 4] = (1 << 3) | 1
      await child.exited
      expect(holderOf(path)).toBe(child.pid)
      using other = Segment.open(name, counter, { lockTimeoutMs: 0 })
      expect(other.peers.list()).toHaveLength(2)
      expect(holderOf(path)).toBe(0)
    }
    rmSync(path)
  })
})
