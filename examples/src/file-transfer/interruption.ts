import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The reason for an end from outside: Ctrl-C, `kill`, a closed terminal, a `| head` that has read enough. */
export class Interrupted extends Error {
  /** The exit code that a shell reports for a program that ended by this signal. */
  readonly exitCode: number

  constructor(signalName: NodeJS.Signals) {
    super(`Interrupted by ${signalName}; everything was cleaned up.`)
    this.exitCode = 128 + constants.signals[signalName]
  }
}

/** Aborted with an Interrupted, so that the program can clean up before it ends. */
export function interruptionSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of SIGNALS) process.on(name, () => controller.abort(new Interrupted(name)))
  process.stdout.on('error', () => controller.abort(new Interrupted('SIGPIPE')))
  return controller.signal
}
