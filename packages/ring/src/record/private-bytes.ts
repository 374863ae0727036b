/** From here on, memory that is not filled with zeros first saves more than it costs to ask for it. */
export const UNZEROED_BYTES_MIN = 8192

/** The part of Node.js that is used here, if the program runs there. */
interface Host {
  readonly Buffer?: { allocUnsafeSlow?(byteLength: number): { readonly buffer: ArrayBufferLike } }
}

const allocUnsafeSlow = allocatorOf(globalThis as Host)

/**
 * New memory of this thread for what is copied out of a ring. In Node.js it is not filled with zeros, which takes as long as
 * the copy itself, so the caller writes all that it shows to the program.
 * @throws RangeError if there is no memory
 */
export function privateBytes(byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(allocUnsafeSlow === undefined ? byteLength : (allocUnsafeSlow(byteLength) as never))
}

/** In a vm context, such as that of a test runner, buffers of Node.js are no ArrayBuffers to the program. */
function allocatorOf({ Buffer }: Host): ((byteLength: number) => ArrayBufferLike) | undefined {
  if (typeof Buffer?.allocUnsafeSlow !== 'function') return undefined
  const allocate = (byteLength: number) => Buffer.allocUnsafeSlow?.(byteLength).buffer as ArrayBufferLike
  return allocate(1) instanceof ArrayBuffer ? allocate : undefined
}
