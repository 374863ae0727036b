import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'

/** What a search has come to, as the model's program prints it. */
export interface ModelResult {
  readonly states: number
  readonly transitions: number
  /** States in which nothing is left to do, and in which everything was as it should be. */
  readonly rests: number
  readonly soloRuns: number
  readonly longestSolo: number
  /** All states were visited. */
  readonly isComplete: boolean
  /** What was violated; empty if nothing was. */
  readonly violation: string
  /** The actions that led to the violation, one a line. */
  readonly trace: string
  readonly seconds: number
}

export interface RunOptions {
  readonly parameters: string
  readonly mutant?: string
  /** The search ends at so many states. */
  readonly statesMax?: number
  /** Also lets each peer run alone from each state. */
  readonly runsSolo?: boolean
}

export function hasCompiler(): boolean {
  return spawnSync('g++', ['--version'], { stdio: 'ignore' }).status === 0
}

/** The program of one model in property-tests/models, compiled if its sources have changed. */
export class Model {
  readonly #program: string

  constructor(repository: string, name: string) {
    const folder = join(repository, 'property-tests/models')
    const source = join(folder, `${name}.cpp`)
    const hash = createHash('sha256')
    for (const file of [source, join(folder, 'explorer.hpp'), join(folder, 'command.hpp')])
      hash.update(readFileSync(file))
    const cache = join(repository, 'node_modules/.cache/models')
    this.#program = join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`)
    if (existsSync(this.#program)) return
    mkdirSync(cache, { recursive: true })
    // Several processes may compile it at once: each moves its own complete file to the name.
    const unfinished = `${this.#program}.${process.pid}`
    const flags = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror']
    const { status, stderr } = spawnSync('g++', [...flags, source, '-o', unfinished], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`Compiling the model ${name} failed:\n${stderr}`)
    renameSync(unfinished, this.#program)
  }

  get mutants(): string[] {
    return this.#run(['--mutants']).trimEnd().split('\n')
  }

  run({ parameters, mutant, statesMax, runsSolo = false }: RunOptions): ModelResult {
    const words = ['--trace', ...parameters.split(' ').filter((word) => word !== '')]
    if (mutant !== undefined) words.push('--mutant', mutant)
    if (statesMax !== undefined) words.push('--states', String(statesMax))
    if (runsSolo) words.push('--solo')
    const start = performance.now()
    const lines = this.#run(words).trimEnd().split('\n')
    const seconds = (performance.now() - start) / 1000
    return { ...JSON.parse(lines.pop() as string), trace: lines.join('\n'), seconds }
  }

  #run(words: string[]): string {
    const { status, signal, stdout, stderr } = spawnSync(this.#program, words, { encoding: 'utf8', maxBuffer: 2 ** 26 })
    if (status !== 0) throw new Error(`The model ended with ${signal ?? status}: ${stderr}`)
    return stdout
  }
}
