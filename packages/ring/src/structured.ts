import { deserialize, serialize } from 'node:v8'
import type { Codec } from './codec.js'

/** The version with which this Node.js begins what it serializes: an older V8 refuses to read a newer one. */
const FORMAT_VERSION = serialize(undefined)[1]

/**
 * Whatever the structured clone algorithm copies: Map, Set, Date, BigInt, typed arrays, errors, objects that refer to each
 * other in circles. For Node.js: import it from `@isthmus/ring/structured`. Its name contains V8's format version, so
 * programs on releases of Node.js that cannot read each other are told when they open the memory. Nothing checks `T` at
 * run time. Functions, symbols and SharedArrayBuffers have no form: `encode` throws what `v8.serialize` throws for them.
 * The decoder is V8's and trusts its input, so use it only if you trust the producer.
 *
 * @example
 * ```ts
 * const ring = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: structured() })).root
 * ring.producer().trySend(new Map([['tea', 4.5]]))
 * ring.consumer().tryReceive().get('tea') // 4.5
 * ```
 */
export function structured<T>(): Codec<T> {
  return {
    name: `structured@${FORMAT_VERSION}`,
    encode: (value) => serialize(value),
    decode: (bytes) => deserialize(bytes),
  }
}
