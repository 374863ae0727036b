import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

/** What a run leaves behind would stand here, or in /dev/shm. */
let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-test-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

describe('a run of many senders and many receivers', () => {
  it('measures sides that are threads, and leaves nothing behind', async () => {
    const json = join(directory, 'results.json')
    const bench = start('2x2 64 B / message-port', '--json', json)
    const [[code], error] = await Promise.all([once(bench, 'exit'), errorOf(bench)])
    expect([code, error]).toEqual([0, ''])
    const { results } = JSON.parse(readFileSync(json, 'utf8'))
    expect(results).toHaveLength(1)
    expect(results[0]).toMatchObject({ work: '2x2 64 B', subject: 'message-port', unit: 'msg/s' })
    expect(results[0].median).toBeGreaterThan(0)
    rmSync(json)
    expect(leftBy(bench)).toEqual([])
  })

  it('fails if one of its processes is killed, and ends the others', async () => {
    // Not --brief: the run would be over before the kill.
    const bench = start('2x2 64 B / child_process json')
    const ended = Promise.all([once(bench, 'exit'), errorOf(bench)])
    const [host, ...sides] = await agentsOf(bench)
    process.kill(sides[0], 'SIGKILL')
    // Sooner than sides give up that wait for another one.
    await expect.poll(() => [host, ...sides].filter(isAlive), { timeout: 20_000 }).toEqual([])
    const [[code], error] = await ended
    expect(code).toBe(1)
    expect(error).toMatch(/many-to-many-throughput, 2x2 64 B, \S.*: the run failed/)
    expect(error).toContain('was killed by SIGKILL')
    expect(leftBy(bench)).toEqual([])
  })
})

function start(only: string, ...options: string[]): ChildProcess {
  const pace = options.length > 0 ? ['--brief'] : []
  return spawn(process.execPath, [MAIN, '--only', only, ...pace, ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: directory },
  })
}

/** Without what it says about a machine that is busy with other tests. */
async function errorOf({ stderr }: ChildProcess): Promise<string> {
  const output = stderr === null ? '' : await text(stderr)
  return output.replace(/^The machine is busy.*\n/m, '')
}

/** The host of its first run, and the four sides, when all of them are there. */
async function agentsOf({ pid }: ChildProcess): Promise<number[]> {
  const agents = () => childrenOf(pid).flatMap((host) => [host, ...childrenOf(host)])
  await expect.poll(() => agents().length).toBe(5)
  return agents()
}

function childrenOf(pid: number | undefined): number[] {
  const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return pids.split(' ').flatMap((text) => (text.trim() === '' ? [] : [Number(text)]))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function leftBy({ pid }: ChildProcess): string[] {
  const segments = readdirSync('/dev/shm').filter((name) => name.startsWith(`isthmus-bench-${pid}-`))
  return [...segments, ...readdirSync(directory)]
}
