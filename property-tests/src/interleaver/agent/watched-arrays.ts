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
 * An access to a word that is also accessed through Atomics is a step, and so is one to a word that agents may read while
 * another one writes it: there, a call that copies takes a step for each word. An access to a plain word is only noted: if
 * Atomics order the accesses of different agents there, as the notes show, their place in a schedule changes nothing.
 *
 * @param plainWords 1 for each word of the region that is only accessed plainly, 2 for those whose copies are steps
 */
export function watchArrays(region: SharedArrayBuffer, plainWords: Uint8Array, turn: Turn): void {
  const allWords = new Int32Array(region)
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
    /** The words of a range of elements whose copies are steps. */
    const stepWords = (from: number, to: number): number[] => {
      const words: number[] = []
      if (!turn.isStepping) return words
      const end = (target.byteOffset + to * size + 3) >>> 2
      for (let word = (target.byteOffset + from * size) >>> 2; word < end; word++) {
        if (plainWords[word] === 2) words.push(word)
      }
      return words
    }
    /** A copy of a range, each word of it in a step of its own. */
    const loaded = (from: number, to: number): Watchable => {
      const words = stepWords(from, to)
      const copy = target.slice(from, to)
      for (const word of words) {
        turn.before(PLAIN_LOAD, word)
        const at = Math.max(from, (word * 4 - target.byteOffset) / size)
        const end = Math.min(to, (word * 4 + 4 - target.byteOffset) / size)
        copy.set(target.subarray(at, end), at - from)
        turn.done(PLAIN_LOAD, word, 0, 0, allWords[word])
      }
      return copy
    }
    const stored = (source: ArrayLike<number>, at: number): void => {
      const words = stepWords(at, at + source.length)
      const bytes = Array.from(source)
      for (const word of words) {
        turn.before(PLAIN_STORE, word)
        const from = Math.max(at, (word * 4 - target.byteOffset) / size)
        const end = Math.min(at + source.length, (word * 4 + 4 - target.byteOffset) / size)
        target.set(bytes.slice(from - at, end - at), from)
        turn.done(PLAIN_STORE, word, allWords[word], 0, allWords[word])
      }
      if (words.length === 0) target.set(source, at)
    }
    return {
      // Production code uses it only as a source to copy from.
      subarray: (from, to) => {
        range(PLAIN_LOAD, from, to)
        const [start, end] = [from as number, to as number]
        return stepWords(start, end).length === 0 ? target.subarray(start, end) : loaded(start, end)
      },
      slice: (from, to) => {
        range(PLAIN_LOAD, from, to)
        return loaded((from as number | undefined) ?? 0, (to as number | undefined) ?? target.length)
      },
      set: (source, at = 0) => {
        range(PLAIN_STORE, at, (at as number) + (source as ArrayLike<number>).length)
        stored(source as ArrayLike<number>, at as number)
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
