import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { canFork } from '../src/fork/forked-child.js'
import type { Tallies, Tally } from '../src/soak/tally.js'

const command = fileURLToPath(new URL('../dist/soak.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'isthmus-soak-test-'))

afterAll(() => rmSync(folder, { recursive: true }))

interface Soaked {
  readonly status: number | null
  readonly output: string
  readonly pid: number
}

function soak(...parameters: string[]): Soaked {
  const all = ['--single-threaded', command, ...parameters]
  const { status, stdout, stderr, pid } = spawnSync(process.execPath, all, { encoding: 'utf8', timeout: 60_000 })
  return { status, output: stdout + stderr, pid }
}

function countsIn(file: string): { fields: Tallies; total: Tally } {
  return JSON.parse(readFileSync(file, 'utf8'))
}

const FIELDS = [
  'rings',
  // The other queue has a test of its own, queue-kills.test.ts.
  'queues/at-most-once',
  'locks/mutex',
  'locks/rw-lock',
  'locks/semaphore',
  'locks/condvar',
  'locks/barrier',
  'segments',
  'loops',
]

describe.runIf(canFork)('The soak', { timeout: 120_000 }, () => {
  it.each(FIELDS)('loses nothing in the field %s', (field) => {
    const json = join(folder, `${field.replace('/', '-')}.json`)
    // Programs take longer to start than copies.
    const kills = field === 'loops' ? 6 : 30
    const { status, output, pid } = soak('--only', `^${field}$`, '--kills', `${kills}`, '--seed', '1', '--json', json)
    expect(status, output).toBe(0)
    const { fields, total } = countsIn(json)
    expect(Object.keys(fields)).toEqual([field])
    expect(total.kills).toBeGreaterThanOrEqual(kills)
    expect(total.restarts).toBeGreaterThan(0)
    expect(total.steps).toBeGreaterThan(0)
    expect(total.losses).toBe(0)
    expect(readdirSync('/dev/shm').filter((name) => name.startsWith(`isthmus-soak-${pid}-`))).toEqual([])
  })

  it('continues the counts of an earlier run', () => {
    const json = join(folder, 'resumed.json')
    soak('--only', '^locks/mutex$', '--kills', '1', '--json', json)
    const { kills } = countsIn(json).total
    const { status, output } = soak('--only', '^locks/mutex$', '--kills', String(kills + 1), '--resume', json)
    expect(status, output).toBe(0)
    expect(countsIn(json).total.kills).toBeGreaterThan(kills)
  })

  it('fails if there is no such field', () => {
    const { status, output } = soak('--only', 'nothing')
    expect(status).not.toBe(0)
    expect(output).toContain('No field matches nothing')
  })
})
