/** Writes the sequence number to both ends of a message. */
export function stamp(message: DataView, sequence: number): void {
  message.setInt32(0, sequence, true)
  message.setInt32(message.byteLength - 4, sequence, true)
}

/** @throws Error if the message is not the one that was stamped with this number */
export function checkStamp(message: DataView, sequence: number): void {
  const isRight = message.getInt32(0, true) === sequence && message.getInt32(message.byteLength - 4, true) === sequence
  if (!isRight) throw wrongMessageError(sequence)
}

/** As `stamp`, byte by byte: for messages of which each comes in an array of its own, so that a view would be made for each. */
export function stampBytes(bytes: Uint8Array, byteOffset: number, byteLength: number, sequence: number): void {
  writeInt32(bytes, byteOffset, sequence)
  writeInt32(bytes, byteOffset + byteLength - 4, sequence)
}

/** @throws Error if the message is not the one that was stamped with this number */
export function checkBytes(bytes: Uint8Array, byteOffset: number, byteLength: number, sequence: number): void {
  const isRight =
    readInt32(bytes, byteOffset) === sequence && readInt32(bytes, byteOffset + byteLength - 4) === sequence
  if (!isRight) throw wrongMessageError(sequence)
}

function writeInt32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value
  bytes[offset + 1] = value >> 8
  bytes[offset + 2] = value >> 16
  bytes[offset + 3] = value >> 24
}

export function readInt32(bytes: Uint8Array, offset: number): number {
  return bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)
}

export function wrongMessageError(sequence: number): Error {
  return new Error(`Receiving message ${sequence}: what arrived is not what was sent`)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
