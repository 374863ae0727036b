import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { canFork } from '../src/fork/forked-child.js'
import type { Verdict } from '../src/kill-points/verdict.js'
import { copyWith, type Fault } from './support/package-copies.js'

/** The kill points must be able to fail: these tests run them on built packages in which one step was replaced. */

/** A sweep of a semaphore that does not free a dead holder's permits. */
const SWEEP_THAT_FORGETS: Fault = {
  package: 'sync',
  right: 'if (this.free(cell, deadPeer)) wakeWaiter()',
  wrong: 'if (this.ownerOf(cell) === deadPeer) wakeWaiter()',
}

/** A proof of death that takes every peer for dead, so also one that is only stopped. */
const PROOF_THAT_TAKES_ALL_FOR_DEAD: Fault = {
  package: 'ring',
  right: 'if (!proves || !region.peers.isDead(peer)) {',
  wrong: 'if (!proves) {',
}

function kill(folder: string, ...parameters: string[]) {
  const json = join(folder, 'verdicts.json')
  const program = join(folder, 'dist/verify-kill.js')
  const all = ['--single-threaded', program, '--json', json, ...parameters]
  const { status, stdout, stderr, pid } = spawnSync(process.execPath, all, { encoding: 'utf8' })
  const output = stdout + stderr
  expect(output, 'it came to its end').toContain('kills and stops a second')
  const left = readdirSync('/dev/shm').filter((name) => name.startsWith(`isthmus-kill-${pid}-`))
  expect(left, 'what it leaves in shared memory').toEqual([])
  return { status, output, verdicts: JSON.parse(readFileSync(json, 'utf8')).verdicts as Verdict[] }
}

describe.runIf(canFork)('Killing at every effect', { timeout: 60_000 }, () => {
  // With a retry: a recovery may be late on a busy machine. A fault of the packages fails again.
  it('finds nothing wrong with the packages as they are', { retry: 1 }, () => {
    const only = '^(mutex: locks and unlocks|ring producer: sends)$'
    const { status, output, verdicts } = kill(copyWith(), '--brief', '--only', only)
    expect(status, output).toBe(0)
    expect(output).toMatch(/mutex: locks and unlocks .* stands/)
    expect(verdicts).toHaveLength(2)
    for (const { effects, kills } of verdicts) {
      expect(effects.length).toBeGreaterThan(0)
      // Before and after each effect.
      expect(kills).toBeGreaterThanOrEqual(2 * effects.length)
    }
  })

  it('stops victims of a queue: others go on, and nothing is lost or doubled', { retry: 1 }, () => {
    const only = '^queue (sender: sends, at most|receiver: acknowledges, at least) once$'
    const { status, output, verdicts } = kill(copyWith(), '--brief', '--how', 'stop', '--only', only)
    expect(status, output).toBe(0)
    expect(verdicts).toHaveLength(2)
    for (const { effects, kills, stops } of verdicts) {
      expect(stops).toBeGreaterThanOrEqual(Math.min(2 * effects.length, 18))
      expect(kills).toBe(0)
    }
  })

  it('finds peers that take from a stopped one what it has', () => {
    const only = '^queue receiver: acknowledges, at least once$'
    const { status, output } = kill(
      copyWith(PROOF_THAT_TAKES_ALL_FOR_DEAD),
      '--how',
      'stop',
      '--at',
      '1-',
      '--only',
      only,
    )
    expect(status, output).toBe(1)
    expect(output).toMatch(/queue receiver: acknowledges.* FAILS/)
  })

  it('finds a victim that leaves what it holds, and plays the failure again', () => {
    const folder = copyWith(SWEEP_THAT_FORGETS)
    const found = kill(folder, '--brief', '--only', '^semaphore: acquires and releases$')
    expect(found.status, found.output).toBe(1)
    expect(found.output).toMatch(/semaphore: acquires and releases .* FAILS/)
    const [, only, how, at] = /--only '(.*)' --how (\S+) --at (\S+)/.exec(found.output) ?? []
    const again = kill(folder, '--only', only, '--how', how, '--at', at)
    expect(again.status).toBe(1)
    const [[first], [second]] = [found, again].map(({ verdicts }) => verdicts[0].failures)
    expect(second.what.split('\n')[0]).toBe(first.what.split('\n')[0])
  })
})
