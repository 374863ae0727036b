import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { hasCompiler, Model } from '../src/models/model.js'
import { latest } from '../src/models/plans/latest.js'
import { queue } from '../src/models/plans/mpmc-queue.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))

describe.skipIf(!hasCompiler())('The model of the MPMC queue', { timeout: 120_000 }, () => {
  const { sizes } = queue
  const smallest = sizes[0]

  it('holds in its smallest size, in every order of steps', () => {
    const result = new Model(repository, 'mpmc-queue').run({ parameters: smallest.parameters, runsSolo: true })
    expect(result).toMatchObject({ violation: '', isComplete: true })
    expect(result.rests).toBeGreaterThan(0)
    expect(result.soloRuns).toBeGreaterThan(result.states)
  })

  it('does not hold if a step is broken, and says how that came', () => {
    const model = new Model(repository, 'mpmc-queue')
    const result = model.run({ parameters: smallest.parameters, mutant: 'R2 left out by a live holder' })
    expect(result.violation).toMatch(/^I2/)
    expect(result.trace).toMatch(/receiver .* R3[\s\S]*receiver .* T4/)
  })

  // `npm run verify:models` asks the same of the other models.
  it('has a size, or a reason, for each mutant', () => {
    const { name, harmlessMutants, openMutants } = queue
    const known = [...sizes.flatMap(({ catches }) => catches), ...Object.keys(harmlessMutants), ...openMutants]
    expect([...new Set(known)].sort()).toEqual([...new Model(repository, name).mutants].sort())
  })

  it('says that it is not complete if there are more states than it may visit', () => {
    const model = new Model(repository, 'mpmc-queue')
    const result = model.run({ parameters: smallest.parameters, statesMax: 100 })
    expect(result).toMatchObject({ violation: '', isComplete: false, states: 100 })
  })
})

describe.skipIf(!hasCompiler())('The model of the latest value', { timeout: 120_000 }, () => {
  const smallest = latest.sizes[0]

  it('holds, and a reader finishes in a few steps, wherever the writer was stopped or killed', () => {
    const result = new Model(repository, 'latest').run({ parameters: smallest.parameters, runsSolo: true })
    expect(result).toMatchObject({ violation: '', isComplete: true, longestSolo: 8 })
    expect(result.rests).toBeGreaterThan(0)
  })

  it.each(smallest.catches)('does not hold with "%s"', (mutant) => {
    const { violation } = new Model(repository, 'latest').run({ parameters: smallest.parameters, mutant })
    expect(violation).not.toBe('')
  })
})
