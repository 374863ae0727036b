import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type * as fs from 'node:fs'
import type { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type * as sync from '@isthmus/sync'
import type * as internal from '@isthmus/sync/internal'
import { vi } from 'vitest'
import type * as shm from '../../src/index.js'

/** What a child's program may use. Nothing else is in its scope, since its text is sent to the child. */
export interface Kit {
  readonly fs: typeof fs
  readonly require: ReturnType<typeof createRequire>
  /** The built packages, loaded at this moment. */
  load(): Promise<typeof sync & typeof internal & typeof shm>
  /** Shows an error as plain data. */
  failureOf(action: () => unknown): Failure | undefined
  tell(message: unknown): void
  /** Blocks until the parent says something. */
  hear(): Promise<unknown>
  /** Collects garbage, and waits until finalizers have run. Needs --expose-gc. */
  collectGarbage(): Promise<void>
}

export interface Failure {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
  readonly syscall: string | undefined
}

export interface ChildOptions {
  readonly execArgv?: readonly string[]
  /** A command that runs the child: it is given the child's command as its last arguments. */
  readonly wrapper?: readonly string[]
}

const PACKAGE_DIRECTORY = fileURLToPath(new URL('../..', import.meta.url))
const WATCHDOG_MS = 60_000
const running = new Set<Child<unknown>>()

// On a busy machine a process takes its time to start.
vi.setConfig({ testTimeout: 2 * WATCHDOG_MS })

/** To be called after each test. */
export async function endAllChildren(): Promise<void> {
  await Promise.all([...running].map((child) => child.kill()))
}

/** Runs a program in a process of its own, and returns its result. */
export function inChild<A, R>(
  program: (kit: Kit, argument: A) => R | Promise<R>,
  argument: A,
  options: ChildOptions = {},
): Promise<R> {
  return Child.start(program, argument, options).result
}

/** A process of its own that runs a program of a test. */
export class Child<R> {
  readonly #process: ChildProcess
  readonly result: Promise<R>
  readonly exited: Promise<void>
  readonly #heard: unknown[] = []
  readonly #listeners: ((message: unknown) => void)[] = []

  static start<A, R>(
    program: (kit: Kit, argument: A) => R | Promise<R>,
    argument: A,
    options: ChildOptions = {},
  ): Child<R> {
    return new Child(sourceOf(String(program), JSON.stringify(argument)), options)
  }

  private constructor(source: string, { wrapper = [], execArgv = [] }: ChildOptions) {
    const node = [process.execPath, ...execArgv, '--input-type=module', '--eval', source]
    const [command, ...commandArguments] = [...wrapper, ...node]
    this.#process = spawn(command, commandArguments, {
      cwd: PACKAGE_DIRECTORY,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let errorOutput = ''
    this.#process.stderr?.on('data', (text: Buffer) => {
      errorOutput += text.toString()
    })
    const closed = once(this.#process, 'close')
    this.exited = closed.then(() => {
      running.delete(this)
    })
    this.result = new Promise<R>((resolve, reject) => {
      let settle: (() => void) | undefined
      this.#process.on('error', reject)
      this.#process.on('message', (message: { result: R } | { failure: Failure } | { told: unknown }) => {
        if ('told' in message) this.#note(message.told)
        else settle = 'result' in message ? () => resolve(message.result) : () => reject(errorOf(message.failure))
      })
      const watchdog = setTimeout(() => reject(new Error(`Waited ${WATCHDOG_MS} ms for a child`)), WATCHDOG_MS)
      closed.then(([exitCode, signal]) => {
        clearTimeout(watchdog)
        settle?.()
        reject(new Error(`The child ended with ${signal ?? exitCode} before it had a result: ${errorOutput}`))
      })
    })
    this.result.catch(() => undefined)
    running.add(this)
  }

  get pid(): number {
    const { pid } = this.#process
    if (pid === undefined) throw new Error('The child did not start')
    return pid
  }

  /** The next message that the child tells; rejects if the child fails. */
  next(): Promise<unknown> {
    const next = new Promise((resolve) => {
      if (this.#heard.length > 0) resolve(this.#heard.shift())
      else this.#listeners.push(resolve)
    })
    return Promise.race([next, this.result.then(() => Promise.reject(new Error('The child ended without a word')))])
  }

  say(message: unknown): void {
    this.#process.send({ heard: message })
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.exited
  }

  #note(message: unknown): void {
    const listener = this.#listeners.shift()
    if (listener === undefined) this.#heard.push(message)
    else listener(message)
  }
}

/** A command that runs another one with a /dev/shm of its own. Users other than root need a user namespace for it. */
export function withOwnSharedMemory(size: string): string[] {
  const unshare = process.getuid?.() === 0 ? ['unshare', '--mount'] : ['unshare', '--map-root-user', '--mount']
  return [...unshare, 'sh', '-c', `mount -t tmpfs -o size=${size} tmpfs /dev/shm && exec "$@"`, 'sh']
}

function errorOf({ message, code }: Failure): Error {
  return Object.assign(new Error(`In the child: ${message}`), { code })
}

function sourceOf(program: string, argument: string): string {
  return `
    import fs from 'node:fs'
    import { createRequire } from 'node:module'
    const failureOf = (action) => {
      try {
        action()
      } catch ({ name, message, code, syscall }) {
        return { name, message, code, syscall }
      }
    }
    const heard = []
    const listeners = []
    process.on('message', (message) => (listeners.shift() ?? ((early) => heard.push(early)))(message.heard))
    const kit = {
      fs,
      failureOf,
      require: createRequire(process.cwd() + '/package.json'),
      load: async () => ({
        ...(await import('@isthmus/sync')),
        ...(await import('@isthmus/sync/internal')),
        ...(await import('@isthmus/shm-posix')),
      }),
      tell: (told) => process.send({ told }),
      hear: () => new Promise((resolve) => (heard.length > 0 ? resolve(heard.shift()) : listeners.push(resolve))),
      async collectGarbage() {
        for (let turn = 0; turn < 10; turn++) {
          globalThis.gc()
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      },
    }
    process.on('disconnect', () => process.exit())
    let answer
    try {
      answer = { result: (await (${program})(kit, ${argument})) ?? null }
    } catch ({ name, message, code }) {
      answer = { failure: { name, message, code } }
    }
    process.send(answer, () => process.exit())
  `
}
