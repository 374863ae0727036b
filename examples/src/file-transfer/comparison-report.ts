import { ring, socket } from './both-transports.js'
import type { Comparison, Measurements } from './comparison.js'
import { formatMebibytes, formatSpeed } from './format.js'
import type { TransferSpeed } from './transfer.js'
import { BLOCK_BYTES } from './transport.js'

/** Below this, a transfer is over before anything can be measured. */
const SMALL_FILE_BYTES = 16 * 1024 * 1024

export function describeComparison({ file, memory }: Comparison): string {
  const isTooSmall = file.ring[0].byteLength < SMALL_FILE_BYTES
  return `${row('', ring.name, socket.name, 'ratio')}
${isTooSmall ? 'the file: too small to be timed' : speedRow('the file, hashed and copied', file)}
${speedRow('a gibibyte from memory', memory)}

Timed from the connection to the last byte, without the start of the sender; the median of transfers in turn.
The file (${times(file)}): the sender reads it, which a transfer before has brought into memory if it fits, and
hashes it; the receiver hashes it too and writes the copy, which is not flushed to the disk. All sums agreed.
From memory (${times(memory)}): the transport alone. One block is sent over and over; what arrives is only counted.
Both send blocks of ${formatMebibytes(BLOCK_BYTES)}; received by receiveChunkSync into one array here, by the socket's data events there.`
}

function speedRow(what: string, measurements: Measurements): string {
  const ringSpeed = median(measurements.ring.map(bytesPerSecond))
  const socketSpeed = median(measurements.socket.map(bytesPerSecond))
  return row(what, formatSpeed(ringSpeed), formatSpeed(socketSpeed), (ringSpeed / socketSpeed).toFixed(2))
}

function row(what: string, ringCell: string, socketCell: string, ratio: string): string {
  return `${what.padEnd(28)}${ringCell.padStart(14)}${socketCell.padStart(14)}${ratio.padStart(9)}`
}

function times({ ring }: Measurements): string {
  return ring.length === 1 ? 'once over each' : `${ring.length} times over each`
}

function bytesPerSecond({ byteLength, seconds }: TransferSpeed): number {
  return byteLength / seconds
}

/** The median of an odd number of values. */
function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) / 2]
}
