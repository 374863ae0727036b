import { PeerDiedError } from 'isthmus'
import { showProgress } from './progress-bar.js'
import { SenderProcess } from './sender-process.js'
import { CountingSink, FileSink, type Sink } from './sinks.js'
import { MEMORY_BYTES, type Transport } from './transport.js'

export interface TransferOptions {
  readonly transport: Transport
  /** A directory for temporary files. */
  readonly directory: string
  readonly signal: AbortSignal
  /** The label of the progress bar. */
  readonly label: string
}

export interface TransferSpeed {
  readonly byteLength: number
  readonly seconds: number
}

export interface FileTransfer extends TransferSpeed {
  readonly senderPid: number | undefined
  readonly sentSha256: string
  readonly receivedSha256: string
}

/** Lets another process send a file, and writes it to `copyPath`. */
export async function transferFile(
  options: TransferOptions & { path: string; byteLength: number; copyPath: string },
): Promise<FileTransfer> {
  const sink = new FileSink(options.copyPath)
  try {
    const { seconds, senderPid, output } = await receiveFromSender(options, sink, options.byteLength, options.path)
    const sentSha256 = output.trim().replace('sha256 ', '')
    const receivedSha256 = sink.sha256()
    if (receivedSha256 === sentSha256) {
      return { seconds, byteLength: sink.byteLength, senderPid, sentSha256, receivedSha256 }
    }
    throw new Error(`The sums differ: SHA-256 ${sentSha256} was sent, ${receivedSha256} received.`)
  } finally {
    sink.close()
  }
}

/** Lets another process send a gibibyte that is neither read nor hashed nor written: the transport alone. */
export async function transferMemory(options: TransferOptions): Promise<TransferSpeed> {
  const sink = new CountingSink()
  const { seconds } = await receiveFromSender(options, sink, MEMORY_BYTES)
  if (sink.byteLength === MEMORY_BYTES) return { byteLength: MEMORY_BYTES, seconds }
  throw new Error(`The lengths differ: ${MEMORY_BYTES} bytes were sent, ${sink.byteLength} received.`)
}

/** The time runs from the sender's connection, before it reads its first block, until the last byte is in the sink. */
async function receiveFromSender(
  { transport, directory, signal, label }: TransferOptions,
  sink: Sink,
  totalBytes: number,
  path?: string,
): Promise<{ seconds: number; senderPid: number | undefined; output: string }> {
  const incoming = await transport.listen(directory)
  const sender = new SenderProcess(incoming.address, path)
  const stopSender = () => sender.stop()
  const hideProgress = showProgress(`${label}, sender is process ${sender.pid}`, totalBytes, () => sink.byteLength)
  signal.addEventListener('abort', stopSender)
  try {
    await incoming.connected(AbortSignal.any([signal, sender.failed]))
    const startedMs = performance.now()
    await incoming.receive((chunk) => sink.take(chunk), signal)
    const seconds = (performance.now() - startedMs) / 1000
    return { seconds, senderPid: sender.pid, output: await sender.output() }
  } catch (error) {
    await sender.stop()
    signal.throwIfAborted()
    if (!(error instanceof PeerDiedError)) throw error
    throw new Error(`${sender.failed.reason.message}\n${error.name}: ${error.message}`, { cause: error })
  } finally {
    signal.removeEventListener('abort', stopSender)
    hideProgress()
    await sender.stop()
    incoming.close()
  }
}
