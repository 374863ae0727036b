import { constants } from 'node:os'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Somebody wants this program to end: Ctrl-C, `kill`, a closed terminal, a `| head` that has seen enough. */
export class Interrupted extends Error {
  /** What a shell says of a program that ended by this signal. */
  readonly exitCode: number

  constructor(signalName: NodeJS.Signals) {
    super(`Interrupted by ${signalName}; everything was cleaned up.`)
    this.exitCode = 128 + constants.signals[signalName]
  }
}

/** Aborted with an Interrupted, instead of the program's being ended on the spot with its traces left behind. */
export function interruptionSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of SIGNALS) process.on(name, () => controller.abort(new Interrupted(name)))
  process.stdout.on('error', () => controller.abort(new Interrupted('SIGPIPE')))
  return controller.signal
}
