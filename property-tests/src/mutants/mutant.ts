import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundlerOf } from './bundler.js'
import type { Rung } from './rung.js'

/** One step of production code, broken on purpose. */
export interface Mutant {
  readonly name: string
  /** From the repository's root. */
  readonly file: string
  /** The text of the step, which must stand in the file exactly once, and the text that replaces it. */
  readonly from: string
  readonly to: string
  /** The part of the tests that claims to catch it. */
  readonly rung: Rung
  /** Whether `--brief` tries it. */
  readonly isBrief?: boolean
}

/**
 * @throws Error if the text does not stand in its file exactly once, or if the file no longer parses with its replacement:
 * the mutant is stale.
 */
export function assertFits(repository: string, { name, file, from, to }: Mutant): void {
  const source = readFileSync(join(repository, file), 'utf8')
  const count = source.split(from).length - 1
  if (count !== 1) throw new Error(`The mutant "${name}" is stale: its text stands in ${file} ${count} times`)
  try {
    bundlerOf(repository).transformSync(
      source.replace(from, () => to),
      { loader: 'ts', logLevel: 'silent' },
    )
  } catch (cause) {
    throw new Error(`The mutant "${name}" is stale: ${file} does not parse with it. ${(cause as Error).message}`, {
      cause,
    })
  }
}
