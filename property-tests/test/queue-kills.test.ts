import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { canFork } from '../src/fork/forked-child.js'
import type { Tallies } from '../src/soak/tally.js'
import { copyWith } from './support/package-copies.js'

/** Some dozens of the kills of `npm run verify:queue`, with the packages as they are and with a broken step. */

function killPeers(folder: string, kills: number) {
  const json = join(folder, 'tallies.json')
  const program = join(folder, 'dist/verify-queue.js')
  const all = ['--single-threaded', program, '--kills', `${kills}`, '--only', 'at-least-once', '--json', json]
  const { status, stdout, stderr, pid } = spawnSync(process.execPath, all, { encoding: 'utf8' })
  const left = readdirSync('/dev/shm').filter((name) => name.startsWith(`isthmus-queue-${pid}-`))
  expect(left, 'what it leaves in shared memory').toEqual([])
  return {
    status,
    output: stdout + stderr,
    tallies: existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as Tallies) : {},
  }
}

describe.runIf(canFork)('Random kills of the peers of one queue', { timeout: 60_000 }, () => {
  it('lose nothing, and leave all blocks free', () => {
    const { status, output, tallies } = killPeers(copyWith(), 40)
    expect(status, output).toBe(0)
    const tally = tallies['queues/at-least-once']
    expect(tally.killsAtWork).toBeGreaterThanOrEqual(40)
    expect(tally.kills).toBeGreaterThanOrEqual(tally.killsAtWork)
    expect(tally.rounds).toBe(1)
    expect(tally.steps).toBeGreaterThan(0)
  })

  // Already the rehearsal meets it, whose peers leave with messages that they have not acknowledged.
  it('find a sweep that leaves what a receiver had', () => {
    const fault = {
      package: 'ring',
      right: 'hold === ORPHAN) return UNCHANGED;',
      wrong: 'hold === ORPHAN || (hold & PUSHABLE) === 0) return UNCHANGED;',
    }
    const { status, output } = killPeers(copyWith(fault), 40)
    expect(status, output).toBe(1)
    expect(output).toMatch(/blocks are free: |Messages are lost/)
  })
})
