import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bundler, bundlerOf } from './bundler.js'
import { assertFits, type Mutant } from './mutant.js'
import type { Rung } from './rung.js'

const PACKAGES = ['sync', 'ring', 'shm-posix']
const COPIED = ['packages', 'property-tests', 'package.json', 'vitest.config.ts', 'tsconfig.base.json', 'tsconfig.json']
/** A rung that takes longer counts as having caught the mutant. */
const RUNG_MS_MAX = 90_000

export interface RungOutcome {
  readonly isPassed: boolean
  readonly hasHung: boolean
  readonly seconds: number
  readonly output: string
}

/** A private copy of the built repository, in which one step at a time is broken, built, run and restored. */
export class Workshop {
  readonly #repository: string
  readonly #seed: string
  readonly #folder: string
  readonly #bundler: Bundler
  readonly #running = new Set<number>()

  constructor(repository: string, seed: string) {
    this.#repository = repository
    this.#seed = seed
    this.#folder = mkdtempSync(join(tmpdir(), 'isthmus-mutants-'))
    for (const name of COPIED) {
      // Relative links stay as they are, so they lead to the other packages of the copy.
      cpSync(join(repository, name), join(this.#folder, name), { recursive: true, verbatimSymlinks: true })
    }
    symlinkSync(join(repository, 'node_modules'), join(this.#folder, 'node_modules'))
    this.#bundler = bundlerOf(repository)
    // Mutated packages are built by #build, so the sound ones must be as well.
    for (const name of PACKAGES) this.#build(name)
  }

  async runBroken(mutant: Mutant): Promise<RungOutcome> {
    assertFits(this.#repository, mutant)
    const path = join(this.#folder, mutant.file)
    const right = readFileSync(path, 'utf8')
    const packageName = mutant.file.split('/')[1]
    writeFileSync(
      path,
      right.replace(mutant.from, () => mutant.to),
    )
    try {
      this.#build(packageName)
      return await this.run(mutant.rung)
    } finally {
      writeFileSync(path, right)
      this.#build(packageName)
    }
  }

  async run(rung: Rung): Promise<RungOutcome> {
    const parameters = rung.isSeeded ? [...rung.parameters, '--seed', this.#seed] : rung.parameters
    const startedMs = performance.now()
    // The child leads a process group, so that the processes it starts end with it.
    const child = spawn(process.execPath, parameters, {
      cwd: this.#folder,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { pid } = child
    if (pid === undefined) throw new Error(`${parameters.join(' ')} did not start`)
    this.#running.add(pid)
    let output = ''
    const listen = (text: Buffer) => {
      output = (output + text).slice(-20_000)
    }
    child.stdout.on('data', listen)
    child.stderr.on('data', listen)
    let hasHung = false
    const watchdog = setTimeout(() => {
      hasHung = true
      endGroup(pid)
    }, RUNG_MS_MAX)
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
    clearTimeout(watchdog)
    endGroup(pid)
    this.#running.delete(pid)
    return { isPassed: code === 0, hasHung, seconds: (performance.now() - startedMs) / 1000, output }
  }

  clean(): void {
    for (const pid of this.#running) endGroup(pid)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Every entry of the package in one go: entries that share a module must share it when built, too. */
  #build(packageName: string): void {
    const folder = join(this.#folder, 'packages', packageName)
    this.#bundler.buildSync({
      entryPoints: sourceEntries(folder),
      outdir: join(folder, 'dist'),
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      logLevel: 'silent',
    })
  }
}

/** The sources of what a package exports, as its package.json lists them. */
function sourceEntries(folder: string): string[] {
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { exports: object }
  const sources = Object.values(exports).flatMap((entry) => entry['@isthmus/source'] ?? [])
  return sources.map((source: string) => join(folder, source))
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // The group has ended already.
  }
}
