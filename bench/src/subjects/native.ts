import { mkdirSync, renameSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runChild } from '../harness/child.js'
import type { RunContext } from '../harness/contest.js'
import type { Measurement } from '../harness/two-processes.js'
import type { SelfTimedSubject, ThroughputWork } from './throughput-subject.js'

const COMPILER = 'g++'
const COMPILER_FLAGS = ['-std=c++17', '-O3', '-march=native']

const SOURCE = packageFile('native/spsc-ring.cpp')
const HEADER = packageFile('native/spsc-ring.h')
const PROGRAM_DIRECTORY = packageFile('dist/native')
const PROGRAM = `${PROGRAM_DIRECTORY}/spsc-ring`

/** The same ring in C++, between two processes: what the machine gives. Compiled at first use. */
export const nativeThroughput: SelfTimedSubject = { name: 'native', prepare, measure }

async function prepare(signal: AbortSignal): Promise<string | undefined> {
  const sourceMs = Math.max(modifiedMs(SOURCE), modifiedMs(HEADER))
  if (modifiedMs(PROGRAM) >= sourceMs) return undefined
  mkdirSync(PROGRAM_DIRECTORY, { recursive: true })
  // Under its name there is only ever a whole program, also where two benches compile at once.
  const unfinished = `${PROGRAM}-${process.pid}`
  try {
    await runChild(COMPILER, [...COMPILER_FLAGS, '-o', unfinished, SOURCE], signal)
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isMissing) return `${COMPILER} was not found`
    throw error
  }
  renameSync(unfinished, PROGRAM)
  return undefined
}

async function measure(work: ThroughputWork, { pace, signal }: RunContext): Promise<Measurement> {
  const { messageBytes, capacityBytes } = work
  const way = work.kind === 'copying' ? ['copy', 1, 1] : ['claim', work.batchMessages, work.touchedWords]
  const [mode, batchMessages, touchedWords] = way
  const args = [mode, messageBytes, capacityBytes, batchMessages, touchedWords, pace.warmUpMs, pace.targetMs]
  return JSON.parse(await runChild(PROGRAM, args.map(String), signal))
}

/** 0 where there is no such file. */
function modifiedMs(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

/** What is built lies in dist. */
function packageFile(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url))
}
