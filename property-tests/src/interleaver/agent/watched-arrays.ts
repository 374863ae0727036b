import { PLAIN_LOAD, PLAIN_STORE } from '../operation.js'
import type { Turn } from './turn.js'

type Watchable = Int32Array | Uint8Array
/** A method of typed arrays that production code calls on the region, as a function of any arguments. */
type Method = (...parameters: unknown[]) => unknown

const targets = new WeakMap<object, Watchable>()

/** The array behind a watched one; the array itself if it is not watched. */
export function targetOf<A extends object>(array: A): A {
  return (targets.get(array) as A | undefined) ?? array
}

/**
 * Replaces the constructors of Int32Array and Uint8Array, so that arrays over the region report plain accesses.
 * An access to a word that is also accessed through Atomics is a step. An access to a plain word is only noted: if
 * Atomics order the accesses of different agents there, as the notes show, their place in a schedule changes nothing.
 *
 * @param plainWords 1 for each word of the region that is only accessed plainly
 */
export function watchArrays(region: SharedArrayBuffer, plainWords: Uint8Array, turn: Turn): void {
  const isPlain = (byte: number): boolean => plainWords[byte >>> 2] === 1

  const access = (kind: number, fromByte: number, toByte: number): void => {
    if (!turn.isStepping) return
    const end = (toByte + 3) >>> 2
    for (let word = fromByte >>> 2; word < end; word++) {
      const first = word
      while (word < end && plainWords[word] === 1) word++
      if (word > first) turn.note(kind, first, word - first)
    }
  }

  const methodsOf = (target: Watchable): Record<string, Method> => {
    const size = target.BYTES_PER_ELEMENT
    const range = (kind: number, from: unknown, to: unknown): void => {
      const start = typeof from === 'number' ? from : 0
      const end = typeof to === 'number' ? to : target.length
      access(kind, target.byteOffset + start * size, target.byteOffset + end * size)
    }
    return {
      // Production code uses it only as a source to copy from.
      subarray: (from, to) => {
        range(PLAIN_LOAD, from, to)
        return target.subarray(from as number, to as number)
      },
      slice: (from, to) => {
        range(PLAIN_LOAD, from, to)
        return target.slice(from as number, to as number)
      },
      set: (source, at = 0) => {
        range(PLAIN_STORE, at, (at as number) + (source as ArrayLike<number>).length)
        target.set(source as ArrayLike<number>, at as number)
      },
      fill: (value, from, to) => {
        range(PLAIN_STORE, from, to)
        target.fill(value as number, from as number, to as number)
      },
    }
  }

  const watched = (target: Watchable): Watchable => {
    const methods = methodsOf(target)
    const isWords = target.BYTES_PER_ELEMENT === 4
    const proxy = new Proxy(target, {
      get(_, key) {
        if (typeof key === 'string' && Object.hasOwn(methods, key)) return methods[key]
        const index = typeof key === 'string' ? Number(key) : Number.NaN
        if (Number.isInteger(index)) {
          const byte = target.byteOffset + index * target.BYTES_PER_ELEMENT
          if (isWords && turn.isStepping && !isPlain(byte)) return plainLoad(target, index, byte >>> 2)
          access(PLAIN_LOAD, byte, byte + target.BYTES_PER_ELEMENT)
          return target[index]
        }
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
      set(_, key, value) {
        const index = Number(key)
        const byte = target.byteOffset + index * target.BYTES_PER_ELEMENT
        if (isWords && turn.isStepping && !isPlain(byte)) plainStore(target, index, byte >>> 2, value)
        else {
          access(PLAIN_STORE, byte, byte + target.BYTES_PER_ELEMENT)
          target[index] = value
        }
        return true
      },
    })
    targets.set(proxy, target)
    return proxy
  }

  const plainLoad = (target: Watchable, index: number, word: number): number => {
    turn.before(PLAIN_LOAD, word)
    const value = target[index]
    turn.done(PLAIN_LOAD, word, 0, 0, value)
    return value
  }

  const plainStore = (target: Watchable, index: number, word: number, value: number): void => {
    turn.before(PLAIN_STORE, word)
    target[index] = value
    turn.done(PLAIN_STORE, word, value, 0, value)
  }

  const watching = <C extends typeof Int32Array | typeof Uint8Array>(original: C): C => {
    const replacement: C = new Proxy(original, {
      construct(_, parameters, newTarget): Watchable {
        const array = Reflect.construct(original, parameters, newTarget === replacement ? original : newTarget)
        return array.buffer === region ? watched(array) : array
      },
    })
    return replacement
  }
  globalThis.Int32Array = watching(Int32Array)
  globalThis.Uint8Array = watching(Uint8Array)
}
