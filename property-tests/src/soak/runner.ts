import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { RunnerLine, RunnerTask } from './runner-line.js'

/** Longer than the end of a round takes. */
const STOP_TIMEOUT_MS = 30_000
/** Longer than any round takes, including a failing one. */
const SILENCE_MS = 60_000

/** A process that plays rounds and reports each of them. */
export class Runner {
  readonly #process: ChildProcess
  #hasToldFailure = false
  #isStopped = false
  #hasHung = false
  #watchdog: NodeJS.Timeout
  /** Resolves when the process has ended: with undefined, or with a failure that the process has not reported. */
  readonly ended: Promise<string | undefined>

  constructor(task: RunnerTask, onLine: (line: RunnerLine) => void) {
    const file = fileURLToPath(new URL('./soak-field.js', import.meta.url))
    // Detached, so that Ctrl-C reaches only the command, which lets the round end in good order.
    this.#process = spawn(process.execPath, ['--single-threaded', file, JSON.stringify(task)], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const { stdout } = this.#process
    if (stdout === null) throw new Error('The runner has no output')
    this.#watchdog = this.#killAfter(SILENCE_MS)
    const lines = createInterface({ input: stdout })
    lines.on('line', (text) => {
      this.#watchdog.refresh()
      const line = JSON.parse(text) as RunnerLine
      if (line.kind === 'failure') this.#hasToldFailure = true
      onLine(line)
    })
    this.ended = this.#waitForEnd(once(lines, 'close'))
  }

  stop(): void {
    this.#isStopped = true
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGTERM')
    clearTimeout(this.#watchdog)
    this.#watchdog = this.#killAfter(STOP_TIMEOUT_MS)
  }

  /** Kills a runner that hangs in a call of the library, where it neither handles signals nor watches its children. */
  #killAfter(timeoutMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#hasHung = true
      this.#process.kill('SIGKILL')
    }, timeoutMs)
  }

  async #waitForEnd(allRead: Promise<unknown>): Promise<string | undefined> {
    const [[exitCode, signal]] = await Promise.all([once(this.#process, 'exit'), allRead])
    clearTimeout(this.#watchdog)
    if (this.#hasHung) return 'The process of a runner reported nothing for too long, and was killed'
    if (exitCode === 0 || this.#hasToldFailure) return undefined
    // SIGTERM ended it before it had installed its handler, so it had not begun a round.
    if (this.#isStopped && signal === 'SIGTERM') return undefined
    return `The process of a runner ended with ${signal ?? `exit code ${exitCode}`}`
  }
}
