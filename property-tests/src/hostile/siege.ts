import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Segment } from '@isthmus/shm-posix'
import type { ChildResult, ChildTask } from './child-task.js'
import { Journal } from './journal.js'
import { targetPlans } from './targets.js'

/** A case takes milliseconds. A child that makes no progress for this long hangs. */
const HANG_MS = 10_000
const LOOK_MS = 250
const PREFIX = 'isthmus-hostile-'

/** How much work each target gets. */
export interface Effort {
  readonly seed: number
  readonly casesMax: number
  readonly mutationsMax: number
  readonly msMax: number
  /** How many children run at the same time. */
  readonly children: number
}

export interface Verdict extends ChildResult {
  readonly target: string
  readonly seconds: number
  /** The seed of the case in which the child crashed, hung or found a failure. */
  readonly failedSeed?: number
  readonly what?: string
}

/** Runs each target in a child process, supervises it, and removes what it leaves. */
export class Siege {
  readonly #effort: Effort
  readonly #folder = mkdtempSync(join(tmpdir(), 'isthmus-hostile-'))
  readonly #prefix = `${PREFIX}${process.pid}-`
  readonly #children = new Set<ChildProcess>()
  #count = 0

  constructor(effort: Effort) {
    this.#effort = effort
  }

  /** Calls `tell` with each target's verdict as soon as the target is done. */
  async run(places: readonly number[], tell: (verdict: Verdict) => void): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    const left = [...places]
    const work = async () => {
      for (let place = left.shift(); place !== undefined; place = left.shift()) {
        const verdict = await this.#attack(place)
        verdicts.push(verdict)
        tell(verdict)
      }
    }
    try {
      await Promise.all(Array.from({ length: this.#effort.children }, work))
    } finally {
      this.clean()
    }
    return verdicts
  }

  /** Removes what killed children left in the temporary folder and in /dev/shm. */
  clean(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
    for (const fileName of readdirSync('/dev/shm')) {
      if (fileName.startsWith(this.#prefix)) rmSync(`/dev/shm/${fileName}`, { recursive: true, force: true })
    }
    // A prune also removes the FIFOs of threads that are proven dead.
    Segment.prune({ prefix: `/${this.#prefix}` })
  }

  async #attack(target: number): Promise<Verdict> {
    const { seed, casesMax, mutationsMax, msMax } = this.#effort
    const id = ++this.#count
    const journal = join(this.#folder, `journal-${id}`)
    const segmentPrefix = `${this.#prefix}${id}-`
    const task: ChildTask = { target, seed, casesMax, mutationsMax, msMax, journal, segmentPrefix }
    const startedMs = performance.now()
    const outcome = await this.#runChild(task)
    const seconds = (performance.now() - startedMs) / 1000
    const { name } = targetPlans[target]
    if (typeof outcome !== 'string') {
      const { failure } = outcome
      return {
        target: name,
        seconds,
        ...outcome,
        ...(failure === undefined ? {} : { failedSeed: failure.seed, what: failure.what }),
      }
    }
    const last = Journal.read(journal)
    const cases = last?.cases ?? 0
    const nothing = { mutations: 0, calls: 0, scribbles: 0, rssGrowthBytes: 0, answers: {} }
    return { target: name, seconds, cases, ...nothing, failedSeed: last?.seed ?? seed, what: outcome }
  }

  /** The child's answer, or how the child ended without one. */
  async #runChild(task: ChildTask): Promise<ChildResult | string> {
    const file = fileURLToPath(new URL('./hostile-agent.js', import.meta.url))
    const child = fork(file, { serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    this.#children.add(child)
    let said = ''
    const listen = (text: Buffer) => {
      said = (said + text).slice(-4000)
    }
    child.stdout?.on('data', listen)
    child.stderr?.on('data', listen)
    let lastCases = -1
    let lastProgressMs = performance.now()
    let isHanging = false
    const watchdog = setInterval(() => {
      const cases = Journal.read(task.journal)?.cases ?? -1
      if (cases !== lastCases) {
        lastCases = cases
        lastProgressMs = performance.now()
      } else if (performance.now() - lastProgressMs > HANG_MS) {
        isHanging = true
        child.kill('SIGKILL')
      }
    }, LOOK_MS)
    try {
      return await new Promise<ChildResult | string>((resolve) => {
        child.on('message', (message: ChildResult | 'ready') => {
          if (message === 'ready') child.send(task)
          else resolve(message)
        })
        child.on('exit', (code, signal) => {
          resolve(
            isHanging ? `hangs: killed after ${HANG_MS} ms without progress\n${said}` : crashText(code, signal, said),
          )
        })
      })
    } finally {
      clearInterval(watchdog)
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      this.#children.delete(child)
    }
  }
}

function crashText(code: number | null, signal: string | null, said: string): string {
  return `crashed with ${signal ?? `exit code ${code}`}\n${said}`
}
