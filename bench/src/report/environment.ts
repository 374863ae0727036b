import { execFileSync } from 'node:child_process'
import { arch, availableParallelism, cpus, loadavg, release, type } from 'node:os'
import { fileURLToPath } from 'node:url'

/** The facts without which the numbers mean nothing. */
export interface Environment {
  readonly machine: string
  readonly cores: number
  readonly corePlacement: string
  readonly kernel: string
  readonly node: string
  readonly commit: string
  readonly date: string
  /** The load of the minute before: what else the machine was doing. */
  readonly loadAverage: number
  /** One short round, which shows that everything works and measures little. */
  readonly isBrief: boolean
}

export function describeEnvironment(isBrief: boolean): Environment {
  return {
    machine: `${cpus()[0]?.model.trim() ?? 'unknown'} (${arch()})`,
    cores: availableParallelism(),
    corePlacement: 'left to the scheduler',
    kernel: `${type()} ${release()}`,
    node: process.version,
    commit: currentCommit(),
    date: new Date().toISOString(),
    loadAverage: loadavg()[0],
    isBrief,
  }
}

/** Whether two processes would have to share a core with others. */
export function isBusy({ cores, loadAverage }: Environment): boolean {
  return cores - loadAverage < 1.5
}

function currentCommit(): string {
  const cwd = fileURLToPath(new URL('.', import.meta.url))
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd, encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch {
    return 'unknown'
  }
}
