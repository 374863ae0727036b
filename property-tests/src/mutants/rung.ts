/** A rung: one part of the ladder of tests (ARCHITECTURE.md) that runs by itself and fails if it finds a fault. */
export interface Rung {
  readonly name: string
  /** The parameters of `node`, which runs in the root of the repository. */
  readonly parameters: readonly string[]
  /** Whether it draws random numbers from the seed in its `--seed`. */
  readonly isSeeded: boolean
  /** What it prints if it has found a fault: a program that cannot even start has found none. */
  readonly finding: RegExp
}

export function interleaver(scenario: string): Rung {
  const program = 'property-tests/dist/verify-interleave.js'
  // More than `--brief` takes by itself: a slow machine has to come as far as the step that is broken.
  const parameters = [program, '--brief', '--seconds', '5', '--only', `^${scenario}$`]
  return { name: `interleaver ${scenario}`, parameters, isSeeded: true, finding: /FAILS/ }
}

export function hostile(target: string): Rung {
  const parameters = ['property-tests/dist/verify-hostile.js', '--seconds', '4', '--only', `^${target}$`]
  return { name: `hostile ${target}`, parameters, isSeeded: true, finding: /FAILS/ }
}

/** One file of tests, or the tests in it whose title matches. */
export function tests(file: string, title?: string): Rung {
  const named = title === undefined ? [] : ['-t', title]
  return {
    name: `tests ${file.split('/').at(-1)}`,
    parameters: ['node_modules/vitest/vitest.mjs', 'run', '--bail=1', file, ...named],
    isSeeded: false,
    finding: /Failed Tests/,
  }
}

/** Processes that are killed at each of their steps. */
export function killPoints(scenario: string): Rung {
  const program = 'property-tests/dist/verify-kill.js'
  const parameters = ['--single-threaded', program, '--brief', '--only', `^${scenario}$`]
  return { name: `kill points ${scenario}`, parameters, isSeeded: true, finding: /FAILS/ }
}
