import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runChild } from '../harness/child.js'

const COMPILER = 'g++'
const COMPILER_FLAGS = ['-std=c++17', '-O3', '-march=native', '-pthread']

const SOURCES = packageFile('native')
const PROGRAMS = packageFile('dist/native')

/** A program of bench/native, compiled at first use. */
export class NativeProgram {
  readonly #source: string
  readonly #file: string

  constructor(name: string) {
    this.#source = join(SOURCES, `${name}.cpp`)
    this.#file = join(PROGRAMS, name)
  }

  /** Returns why it cannot run here, or undefined if it can. */
  readonly prepare = async (signal: AbortSignal): Promise<string | undefined> => {
    const headers = readdirSync(SOURCES).filter((name) => name.endsWith('.h'))
    const sources = [this.#source, ...headers.map((name) => join(SOURCES, name))]
    if (modifiedMs(this.#file) >= Math.max(...sources.map(modifiedMs))) return undefined
    mkdirSync(PROGRAMS, { recursive: true })
    // Its name always stands for a complete program, even if two benches compile at once.
    const unfinished = `${this.#file}-${process.pid}`
    try {
      await runChild(COMPILER, [...COMPILER_FLAGS, '-o', unfinished, this.#source], signal)
    } catch (error) {
      const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
      if (isMissing) return `${COMPILER} was not found`
      throw error
    }
    renameSync(unfinished, this.#file)
    return undefined
  }

  /** Runs it, and returns what it printed. */
  async run<R>(args: readonly (string | number)[], signal: AbortSignal): Promise<R> {
    return JSON.parse(await runChild(this.#file, args.map(String), signal))
  }
}

/** 0 if there is no such file. */
function modifiedMs(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** This module runs from dist. */
function packageFile(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url))
}
