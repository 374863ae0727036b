import { copyFileSync, constants as fsConstants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ring } from './both-transports.js'
import { compare } from './comparison.js'
import { describeComparison } from './comparison-report.js'
import { formatMebibytes, formatMegabytes } from './format.js'
import { Interrupted, interruptionSignal } from './interruption.js'
import { HELP, type Options, readOptions, UsageError } from './options.js'
import { RING_CAPACITY_BYTES } from './ring-transport.js'
import { transferFile } from './transfer.js'
import { BLOCK_BYTES } from './transport.js'

try {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) console.log(HELP)
  else await demonstrate(options)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = exitCodeOf(error)
}

async function demonstrate(options: Options): Promise<void> {
  const signal = interruptionSignal()
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-demo-'))
  try {
    await transferOnce(options, directory, signal)
    console.log('\nThe same in turn over the ring and over a Unix domain socket:\n')
    console.log(describeComparison(await compare(options, directory, signal)))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

async function transferOnce(
  { path, byteLength, keepPath }: Options,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const ringSize = formatMebibytes(RING_CAPACITY_BYTES)
  console.log(`${path}, ${formatMegabytes(byteLength)}`)
  console.log(`from process to process in messages of ${formatMebibytes(BLOCK_BYTES)}, through a ring of ${ringSize}\n`)
  const copyPath = join(directory, 'received')
  const options = { transport: ring, directory, signal, label: ring.name }
  const transfer = await transferFile({ ...options, path, byteLength, copyPath })
  console.log(`sent by process      ${transfer.senderPid}  SHA-256 ${transfer.sentSha256}`)
  console.log(`received by process  ${process.pid}  SHA-256 ${transfer.receivedSha256}`)
  if (keepPath !== undefined) {
    copyFileSync(copyPath, keepPath, fsConstants.COPYFILE_EXCL)
    console.log(`kept as ${keepPath}`)
  }
  rmSync(copyPath)
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return 2
  return error instanceof Interrupted ? error.exitCode : 1
}
