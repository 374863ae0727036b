import { join } from 'node:path'
import { ring, socket } from './both-transports.js'
import type { Options } from './options.js'
import { type TransferOptions, type TransferSpeed, transferFile, transferMemory } from './transfer.js'

/** From this size on, one transfer takes long enough. */
const LARGE_FILE_BYTES = 512 * 1024 * 1024
const ROUNDS = 3

const transports = { ring, socket }

/** What was measured, in the order in which it ran: an odd number of transfers over each. */
export type Measurements = Record<keyof typeof transports, TransferSpeed[]>

export interface Comparison {
  readonly file: Measurements
  readonly memory: Measurements
}

/** Measures both transports. They take turns at being first. */
export async function compare(
  { path, byteLength }: Options,
  directory: string,
  signal: AbortSignal,
): Promise<Comparison> {
  const copyPath = join(directory, 'compared')
  const fileRounds = byteLength < LARGE_FILE_BYTES ? ROUNDS : 1
  return {
    file: await inTurn(fileRounds, directory, signal, (options) => {
      return transferFile({ ...options, path, byteLength, copyPath })
    }),
    memory: await inTurn(ROUNDS, directory, signal, transferMemory),
  }
}

async function inTurn(
  rounds: number,
  directory: string,
  signal: AbortSignal,
  transfer: (options: TransferOptions) => Promise<TransferSpeed>,
): Promise<Measurements> {
  const measurements: Measurements = { ring: [], socket: [] }
  for (let round = 1; round <= rounds; round++) {
    const order = round % 2 === 1 ? (['ring', 'socket'] as const) : (['socket', 'ring'] as const)
    for (const key of order) {
      const transport = transports[key]
      const label = `${transport.name} ${round}/${rounds}`
      measurements[key].push(await transfer({ transport, directory, signal, label }))
    }
  }
  return measurements
}
