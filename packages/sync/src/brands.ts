/**
 * Tests of a value's kind that work across realms: `instanceof` is false for a value from another realm (a vm context, a
 * frame, the test files of Jest) or from another copy of a package. None of these tests runs code of the program.
 */

const typedArrayName = getterOf(Object.getPrototypeOf(Int32Array.prototype), Symbol.toStringTag)
const sharedByteLength =
  typeof SharedArrayBuffer === 'function' ? getterOf(SharedArrayBuffer.prototype, 'byteLength') : undefined

export function isUint8Array(value: unknown): value is Uint8Array {
  return typedArrayName.call(value) === 'Uint8Array'
}

export function isSharedArrayBuffer(value: unknown): value is SharedArrayBuffer {
  try {
    return sharedByteLength !== undefined && typeof sharedByteLength.call(value) === 'number'
  } catch {
    return false
  }
}

function getterOf(prototype: object, key: PropertyKey): () => unknown {
  const getter = Object.getOwnPropertyDescriptor(prototype, key)?.get
  if (getter === undefined) throw new TypeError(`This runtime has no getter for ${String(key)}`)
  return getter
}
