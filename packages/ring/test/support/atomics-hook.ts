import { afterEach } from 'vitest'

const { load, compareExchange } = Atomics

afterEach(() => Object.assign(Atomics, { load, compareExchange }))

/** Acts once, right after the nth load of this word: what another agent does between two steps of a call. */
export function afterLoad(words: Int32Array, index: number, nth: number, act: () => void): void {
  const byteOffset = words.byteOffset + index * 4
  let left = nth
  Atomics.load = ((array: Int32Array, at: number) => {
    const value = load(array, at)
    if (array.byteOffset + at * 4 === byteOffset && array.buffer.byteLength === words.buffer.byteLength && --left === 0)
      act()
    return value
  }) as typeof Atomics.load
}

/** Acts once, right after the first successful CAS to a value for which this is true. */
export function afterExchange(isIt: (value: number) => boolean, act: () => void): void {
  let isOver = false
  Atomics.compareExchange = ((array: Int32Array, at: number, expected: number, value: number) => {
    const found = compareExchange(array, at, expected, value)
    if (!isOver && found === expected && isIt(value)) {
      isOver = true
      act()
    }
    return found
  }) as typeof Atomics.compareExchange
}
