import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

/** What an agent is asked to do, and what it answers. */
export interface Request {
  readonly id: number
  readonly operation: string
  readonly parameters: unknown
}
export type Response = { readonly id: number } & ({ readonly result: unknown } | { readonly failure: Failure })
export interface Failure {
  readonly message: string
  readonly code: string | undefined
}

export type AgentKind = 'process' | 'thread'

/** Longer than anything that a healthy agent does. A test that hangs fails, and says what it waited for. */
const ANSWER_TIMEOUT_MS = 240_000

const running = new Set<Agent>()

/** Ends the agents that a test has left running. Call it after each test. */
export async function endAllAgents(): Promise<void> {
  await Promise.all([...running].map((agent) => agent.kill()))
}

/** A process or a thread that runs one of `../programs`, and answers requests one after the other. */
export class Agent {
  readonly kind: AgentKind
  readonly #runner: ChildProcess | Worker
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  readonly exited: Promise<void>
  #nextId = 1

  static async start(program: string, kind: AgentKind = 'process', execArgv: string[] = []): Promise<Agent> {
    const file = fileURLToPath(new URL(`../../dist/${program}.js`, import.meta.url))
    const runner =
      kind === 'process' ? fork(file, { execArgv, serialization: 'advanced' }) : new Worker(file, { execArgv })
    const agent = new Agent(kind, runner)
    await agent.call('hello')
    return agent
  }

  private constructor(kind: AgentKind, runner: ChildProcess | Worker) {
    this.kind = kind
    this.#runner = runner
    runner.on('message', (response: Response) => this.#settle(response))
    runner.on('error', (error: Error) => this.#failAll(error))
    this.exited = once(runner, 'exit').then(() => {
      running.delete(this)
      this.#failAll(new Error('The agent has ended before it answered'))
    })
    running.add(this)
  }

  get pid(): number {
    const pid = this.#runner instanceof Worker ? process.pid : this.#runner.pid
    if (pid === undefined) throw new Error('The agent did not start')
    return pid
  }

  /** Sends a request and waits for the answer; rejects with the code of the error that the agent threw. */
  call<R>(operation: string, parameters: unknown = undefined, timeoutMs = ANSWER_TIMEOUT_MS): Promise<R> {
    const id = this.#nextId++
    const request: Request = { id, operation, parameters }
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    if (this.#runner instanceof Worker) this.#runner.postMessage(request)
    else this.#runner.send(request)
    return withWatchdog(answer, `${operation} of an agent`, timeoutMs) as Promise<R>
  }

  /** Sends a request that never ends by itself. */
  tell(operation: string, parameters: unknown): void {
    this.call(operation, parameters).catch(() => {
      // The request ends with the agent, whose end is what the test is about.
    })
  }

  /** SIGKILL, or worker.terminate(); resolves once nothing of the agent runs any more. */
  async kill(): Promise<void> {
    if (this.#runner instanceof Worker) await this.#runner.terminate()
    else this.#runner.kill('SIGKILL')
    await withWatchdog(this.exited, 'the end of an agent')
  }

  /** Sends a signal to a process, and does not wait for its effect. */
  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  #settle(response: Response): void {
    const waiting = this.#waiting.get(response.id)
    this.#waiting.delete(response.id)
    if ('result' in response) waiting?.resolve(response.result)
    else waiting?.reject(Object.assign(new Error(response.failure.message), { code: response.failure.code }))
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}

async function withWatchdog<R>(answer: Promise<R>, what: string, timeoutMs = ANSWER_TIMEOUT_MS): Promise<R> {
  let watchdog: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    watchdog = setTimeout(() => reject(new Error(`Waited ${timeoutMs} ms for ${what}`)), timeoutMs)
  })
  try {
    return await Promise.race([answer, timeout])
  } finally {
    clearTimeout(watchdog)
  }
}
