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

export function wrongMessageError(sequence: number): Error {
  return new Error(`Receiving message ${sequence}: what arrived is not what was sent`)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
