import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'

export const HELP = `Sends a file from one process to another through a ring in shared memory, checks its SHA-256 on both
sides, and does the same over a Unix domain socket, to compare.

usage: npm run demo -- [--file PATH] [--keep PATH]

  --file PATH   the file to send, of any size; the Node.js executable if not given
  --keep PATH   keep the received copy there; it is removed if not given
  --help        show this`

export interface Options {
  readonly path: string
  readonly byteLength: number
  readonly keepPath: string | undefined
}

/** The command line asks for something that cannot be done. */
export class UsageError extends Error {}

/** @returns undefined if only help is wanted */
export function readOptions(commandLine: string[]): Options | undefined {
  const { file, keep, help } = parse(commandLine)
  if (help) return undefined
  const path = resolve(file ?? process.execPath)
  const keepPath = keep === undefined ? undefined : resolve(keep)
  if (keepPath !== undefined) assertCanBeMade(keepPath)
  return { path, byteLength: byteLengthOf(path), keepPath }
}

function parse(commandLine: string[]) {
  try {
    const options = { file: { type: 'string' }, keep: { type: 'string' }, help: { type: 'boolean' } } as const
    return parseArgs({ args: commandLine, options }).values
  } catch (error) {
    throw new UsageError(`${messageOf(error)} (see --help)`)
  }
}

function byteLengthOf(path: string): number {
  try {
    accessSync(path, constants.R_OK)
  } catch (error) {
    throw new UsageError(`Cannot read the file to send: ${messageOf(error)}`)
  }
  const status = statSync(path)
  if (!status.isFile()) throw new UsageError(`Cannot send ${path}: it is not a regular file.`)
  return status.size
}

function assertCanBeMade(path: string): void {
  if (existsSync(path)) throw new UsageError(`Cannot keep the copy as ${path}: it exists already, and stays as it is.`)
  try {
    accessSync(dirname(path), constants.W_OK)
  } catch (error) {
    throw new UsageError(`Cannot keep the copy as ${path}: ${messageOf(error)}`)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
