import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { host } from '../../../sync/src/host/host.js'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { endAllChildren, inChild } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

const { lstatSync, openSync } = fs
/** Every call that asks for the file takes so long. */
const STEP_MS = 10
const ATTEMPTS_MAX = 1000
const timeout = { lockTimeoutMs: 100 }
let passedMs = 0
let attempts = 0

afterEach(async () => {
  passedMs = 0
  attempts = 0
  vi.restoreAllMocks()
  Object.assign(fs, { lstatSync, openSync })
  syncBuiltinESMExports()
  await endAllChildren()
  removeEverything()
})

/** Counts what the calls cost that ask for this path, on a clock of their own, and answers them differently. */
function answerFor(
  path: string,
  answers: { openSync?: () => never; lstatSync?: (named: fs.BigIntStats) => object },
): void {
  const startMs = host.now()
  vi.spyOn(host, 'now').mockImplementation(() => startMs + passedMs)
  const passTime = () => {
    passedMs += STEP_MS
    if (++attempts > ATTEMPTS_MAX) throw new Error('It never ends')
  }
  const opening = (opened: string, ...rest: [string | number, number?]) => {
    if (opened !== path) return openSync(opened, ...rest)
    passTime()
    return answers.openSync?.() ?? openSync(opened, ...rest)
  }
  const asking = (named: string, options: { bigint: true; throwIfNoEntry: false }) => {
    const found = lstatSync(named, options)
    return named === path && found !== undefined ? (answers.lstatSync?.(found) ?? found) : found
  }
  Object.assign(fs, { openSync: opening, lstatSync: asking })
  syncBuiltinESMExports()
}

describe('Segment.openOrCreate() has one deadline for all its attempts', () => {
  it('if there is no such file for open, and there is one for create', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    answerFor(pathOf(name), {
      openSync() {
        throw Object.assign(new Error('ENOENT: made up'), { code: 'ENOENT', errno: -2, syscall: 'open' })
      },
    })
    const error = expectCode('ERR_ISTHMUS_BUSY', () => Segment.openOrCreate(name, counter, timeout))
    expect(error.message).toMatch(/its name led to another file each time/)
    expect(attempts).toBeGreaterThanOrEqual(timeout.lockTimeoutMs / STEP_MS)
    expect(attempts).toBeLessThanOrEqual(timeout.lockTimeoutMs / STEP_MS + 2)
  })

  it.each(['open', 'openOrCreate'] as const)('if the name leads to another file after each %s', (attempt) => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const holdings = holdingsUnder('/dev/shm')
    answerFor(pathOf(name), {
      lstatSync: (named) => Object.assign(Object.create(named), { ino: named.ino + 1n }),
    })
    const error = expectCode('ERR_ISTHMUS_BUSY', () => Segment[attempt](name, counter, timeout))
    expect(error.message).toMatch(/its name led to another file each time/)
    expect(attempts).toBeGreaterThanOrEqual(timeout.lockTimeoutMs / STEP_MS)
    expect(attempts).toBeLessThanOrEqual(timeout.lockTimeoutMs / STEP_MS + 2)
    expect(holdingsUnder('/dev/shm')).toEqual(holdings)
  })
})

describe('A segment that could not be attached', () => {
  it.each(['create', 'createAnonymous', 'open'] as const)('has closed its descriptor once, after %s', async (way) => {
    const lost = await inChild(
      async (kit, [way, name]) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const fail = () => {
          throw new Error('of the layout')
        }
        const broken = { ...layout, initialize: fail, sweep: fail }
        const existing = Segment.create(name, layout)
        // A slot whose holder has died, for open to sweep.
        existing.words[(128 + 64) / 4] = (5 << 3) | 1
        const attempts = {
          create: () => Segment.create(`${name}-2`, broken),
          createAnonymous: () => Segment.createAnonymous(broken),
          open: () => Segment.open(name, broken),
        }
        for (let attempt = 0; attempt < 8; attempt++) kit.failureOf(attempts[way as 'open'])
        // They get the numbers of the descriptors that were closed.
        const innocent = Array.from({ length: 16 }, () => kit.fs.openSync('/dev/null', 'r'))
        await kit.collectGarbage()
        existing.close()
        return innocent.filter((fd) => kit.failureOf(() => kit.fs.fstatSync(fd)) !== undefined).length
      },
      [way, uniqueName()] as [string, string],
      { execArgv: ['--expose-gc'] },
    )
    expect(lost).toBe(0)
  })
})
