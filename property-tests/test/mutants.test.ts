import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { assertFits } from '../src/mutants/mutant.js'
import { mutants } from '../src/mutants/mutants.js'
import { interleaver } from '../src/mutants/rung.js'
import { Workshop } from '../src/mutants/workshop.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))

describe('The mutants', { timeout: 120_000 }, () => {
  const workshop = new Workshop(repository, '1')
  afterAll(() => workshop.clean())

  const harmless = {
    name: 'nothing',
    file: 'packages/sync/src/waiting/adaptive-spin.ts',
    from: 'const SHORT_SLEEP_MS = ',
    to: 'const SHORT_SLEEP_MS = 1 * ',
    rung: interleaver('event-count'),
  }

  it.each(mutants)('fit the code: $name', (mutant) => {
    assertFits(repository, mutant)
    expect(mutant.to).not.toBe(mutant.from)
  })

  it('have names of their own', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length)
  })

  it('are refused if their text does not stand exactly once, or what replaces it does not parse', () => {
    expect(() => assertFits(repository, { ...harmless, from: 'no such text' })).toThrow(/stale.* 0 times/)
    expect(() => assertFits(repository, { ...harmless, to: 'this.#unknown = ' })).toThrow(/stale.* does not parse/)
    expect(() => assertFits(repository, { ...harmless, from: 'const' })).toThrow(/stale/)
  })

  it('change modules that all entries of a package share', async () => {
    const program = `
      import { IsthmusError } from './packages/sync/dist/index.js'
      import { closedError } from './packages/sync/dist/internal.js'
      process.exit(closedError('Testing') instanceof IsthmusError ? 0 : 1)`
    const parameters = ['--input-type=module', '-e', program]
    const { isPassed, output } = await workshop.run({ name: 'entries', parameters, isSeeded: false, finding: /./ })
    expect(isPassed, output).toBe(true)
  })

  it('survive if nothing is broken', async () => {
    const { isPassed, output } = await workshop.runBroken(harmless)
    expect(isPassed, output).toBe(true)
  })

  it('are caught if a step is broken, and the command says so', () => {
    const program = `${repository}/property-tests/dist/verify-mutants.js`
    const parameters = [program, '--only', '^an unlock wakes no waiter$']
    const { status, stdout } = spawnSync(process.execPath, parameters, { encoding: 'utf8' })
    expect(stdout).toMatch(/an unlock wakes no waiter +interleaver mutex +caught/)
    expect(status, stdout).toBe(0)
  })
})
