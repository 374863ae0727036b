import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('./send.js', import.meta.url))

/** The other program, which shares only the address with this one. */
export class SenderProcess {
  readonly pid: number | undefined
  /** Aborted when the process has ended in any other way than well. */
  readonly failed: AbortSignal
  readonly #child: ChildProcess
  readonly #ended: Promise<string>

  constructor(address: string, path: string | undefined) {
    const child = spawn(process.execPath, [PROGRAM, address, ...(path === undefined ? [] : [path])], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const failure = new AbortController()
    this.#child = child
    this.pid = child.pid
    this.failed = failure.signal
    this.#ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]).then(
      ([output, complaint]) => {
        if (child.exitCode !== 0) failure.abort(new Error(`${this.#describeEnd()} ${complaint}`.trim()))
        return output
      },
    )
    // A failure shows in `output` and in `failed`.
    this.#ended.catch((error) => failure.abort(error))
  }

  /** What the process printed, once it has ended. */
  async output(): Promise<string> {
    const output = await this.#ended
    this.failed.throwIfAborted()
    return output
  }

  /** Resolves when there is no such process any more. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended.catch(() => {})
  }

  #describeEnd(): string {
    const { exitCode, signalCode } = this.#child
    const end = signalCode === null ? `ended with exit code ${exitCode}` : `was killed by ${signalCode}`
    return `The sender (process ${this.pid}) ${end}.`
  }
}
