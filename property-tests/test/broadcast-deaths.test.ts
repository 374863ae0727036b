import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { canFork } from '../src/fork/forked-child.js'
import { beginningOf, faultsOfNotes } from '../src/harness/broadcast-notes.js'
import type { BroadcastDeaths } from '../src/programs/broadcast-deaths.js'

const KILLS = Number(process.env.ISTHMUS_KILLS ?? 100)
const program = fileURLToPath(new URL('../dist/broadcast-deaths.js', import.meta.url))

it.runIf(canFork)(
  `A publisher that is killed ${KILLS} times: each subscriber gets every message, or counts it`,
  {
    timeout: 300_000,
  },
  () => {
    const { status, stdout, stderr, pid } = spawnSync(process.execPath, ['--single-threaded', program, `${KILLS}`], {
      encoding: 'utf8',
    })
    expect(readdirSync('/dev/shm').filter((name) => name.includes(`broadcast-deaths-${pid}`))).toEqual([])
    expect(status, stderr).toBe(0)
    const { published, subscribers, faults } = JSON.parse(stdout) as BroadcastDeaths
    expect(faults).toEqual([])
    expect(published).toBeGreaterThan(KILLS * 10)
    expect(subscribers.map(({ name }) => name)).toHaveLength(4)
    for (const { name, notes } of subscribers) {
      expect(faultsOfNotes(notes, published), name).toEqual([])
      expect(beginningOf(notes, published), name).toBe(0)
      expect(notes.deaths, name).toBeLessThanOrEqual(KILLS)
      expect(notes.deaths, name).toBeGreaterThanOrEqual(KILLS - Math.floor(KILLS / 4))
      if (name === 'gating') expect(notes, name).toMatchObject({ lost: 0, overruns: 0, received: published })
      else expect(notes.received, name).toBeGreaterThan(KILLS)
    }
  },
)
