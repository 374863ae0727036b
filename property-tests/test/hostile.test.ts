import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Verdict } from '../src/hostile/siege.js'
import { copyWith } from './support/package-copies.js'

/** The fuzzer must be able to fail: these tests run it on built packages from which one check was removed. */

function attack(
  folder: string,
  ...parameters: string[]
): { status: number | null; output: string; verdicts: Verdict[] } {
  const json = join(folder, 'verdicts.json')
  const program = join(folder, 'dist/verify-hostile.js')
  const all = [program, '--seconds', '2', '--json', json, ...parameters]
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8' })
  const output = stdout + stderr
  expect(output, 'the fuzzer came to its end').toContain('mutations a second')
  return { status, output, verdicts: JSON.parse(readFileSync(json, 'utf8')).verdicts }
}

describe('The hostile fuzzer', { timeout: 120_000 }, () => {
  // With a retry: a machine that stands still for a second looks like a hang. A fault of the packages fails again.
  it('finds nothing wrong with the packages as they are', { retry: 1 }, () => {
    const { status, output, verdicts } = attack(copyWith(), '--only', '^(ring|mutex)/(heap|segment)/')
    expect(status, output).toBe(0)
    expect(verdicts.map(({ target }) => target)).toHaveLength(8)
    for (const { cases } of verdicts) expect(cases).toBeGreaterThan(0)
    // On a busy machine a scribbled target gets through one case, in which perhaps no call returns.
    for (const { answers } of verdicts.filter(({ target }) => target.endsWith('/between'))) {
      expect(answers.returned).toBeGreaterThan(0)
    }
  })

  it('finds a consumer that trusts the length of a record, and the same case again by its seed', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'byteLength >>> 0 <= publishedBytes - RECORD_HEADER_BYTES && ',
      wrong: 'byteLength !== 0 || ',
    })
    const { status, verdicts } = attack(folder, '--only', '^ring/heap/between$')
    expect(status).toBe(1)
    const [{ failedSeed, what }] = verdicts
    expect(what).toBeDefined()
    const again = attack(folder, '--only', '^ring/heap/between$', '--cases', '1', '--seed', String(failedSeed))
    expect(again.verdicts[0].what?.split('\n')[0]).toBe(what?.split('\n')[0])
    expect(again.output).toMatch(/structure \+ \d+: 0x/)
  })

  it('finds a receiver that allocates any length that stands in memory', () => {
    const fault = {
      package: 'ring',
      right: 'if (total > this.#maxMessageBytes) throw this.#tooLarge(total);',
      wrong: '',
    }
    const { status, verdicts } = attack(copyWith(fault), '--only', '^ring/segment/between$')
    expect(status).toBe(1)
    expect(verdicts[0].what).toMatch(
      /of a message of|allocated at once|Array buffer allocation failed|Invalid typed array length/,
    )
  })

  it('finds a receiver that trusts the length of a message in a block', () => {
    const fault = {
      package: 'ring',
      right: ' || byteLength >>> 0 > this.#blockBytes) {',
      wrong: ') {',
    }
    const { status, verdicts } = attack(
      copyWith(fault),
      '--only',
      '^queue-at-most-once/heap/between$',
      '--seconds',
      '20',
    )
    expect(status).toBe(1)
    expect(verdicts[0].what).toMatch(/outside|bytes was received|Invalid typed array length|allocat/)
  })

  it('finds a call that never returns, and ends its process', () => {
    const fault = { package: 'sync', right: 'if (startedMs >= deadline) return false;', wrong: '' }
    const { status, verdicts } = attack(copyWith(fault), '--only', '^mutex/heap/between$')
    expect(status).toBe(1)
    expect(verdicts[0].what).toMatch(/^hangs|took \d+ ms/)
  })
})
