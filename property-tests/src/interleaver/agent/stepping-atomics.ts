import { ADD, AND, COMPARE_EXCHANGE, EXCHANGE, LISTEN, LOAD, NOTIFY, OR, STORE, SUB, WAIT, XOR } from '../operation.js'
import type { AgentLoop } from './agent-loop.js'
import type { Turn } from './turn.js'
import { targetOf } from './watched-arrays.js'

/** The arrays that production code may pass: isthmus's structures share 32-bit words only. */
type Words = Int32Array<SharedArrayBuffer>

const real = Atomics

/** An `Atomics` whose operations on the region wait for their agent's turn. Other operations are as usual. */
export function steppingAtomics(region: SharedArrayBuffer, turn: Turn, loop: AgentLoop): typeof Atomics {
  const isStep = (array: Words): boolean => {
    if (!turn.isStepping || array.buffer !== region) return false
    if (array.BYTES_PER_ELEMENT === 4) return true
    throw new Error('The interleaver knows operations on 32-bit words only')
  }
  const wordOf = (array: Words, index: number): number => (array.byteOffset >>> 2) + index

  const modifying = (kind: number, operation: 'add' | 'sub' | 'and' | 'or' | 'xor' | 'exchange' | 'store') => {
    return (given: Words, index: number, value: number): number => {
      const array = targetOf(given)
      if (!isStep(array)) return real[operation](array, index, value)
      const word = wordOf(array, index)
      turn.assertLoud(word)
      turn.before(kind, word)
      const result = real[operation](array, index, value)
      turn.done(kind, word, value, 0, result)
      return result
    }
  }

  const stepping = {
    load(given: Words, index: number): number {
      const array = targetOf(given)
      if (!isStep(array)) return real.load(array, index)
      const word = wordOf(array, index)
      if (turn.isQuiet(word)) return real.load(array, index)
      turn.before(LOAD, word)
      const result = real.load(array, index)
      turn.done(LOAD, word, 0, 0, result)
      return result
    },
    store: modifying(STORE, 'store'),
    add: modifying(ADD, 'add'),
    sub: modifying(SUB, 'sub'),
    and: modifying(AND, 'and'),
    or: modifying(OR, 'or'),
    xor: modifying(XOR, 'xor'),
    exchange: modifying(EXCHANGE, 'exchange'),
    compareExchange(given: Words, index: number, expected: number, replacement: number): number {
      const array = targetOf(given)
      if (!isStep(array)) return real.compareExchange(array, index, expected, replacement)
      const word = wordOf(array, index)
      turn.assertLoud(word)
      turn.before(COMPARE_EXCHANGE, word)
      const result = real.compareExchange(array, index, expected, replacement)
      turn.done(COMPARE_EXCHANGE, word, replacement, expected, result)
      return result
    },
    notify(given: Words, index: number, count = Number.POSITIVE_INFINITY): number {
      const array = targetOf(given)
      if (!isStep(array)) return real.notify(array, index, count)
      const word = wordOf(array, index)
      turn.before(NOTIFY, word)
      const woken = turn.wake(word, count)
      turn.done(NOTIFY, word, 0, 0, woken)
      return woken
    },
    wait(given: Words, index: number, expected: number, timeoutMs = Number.POSITIVE_INFINITY) {
      const array = targetOf(given)
      if (!isStep(array)) return real.wait(array, index, expected, timeoutMs)
      const word = wordOf(array, index)
      turn.before(WAIT, word)
      const value = real.load(array, index)
      turn.done(WAIT, word, 0, expected, value)
      if (value !== expected) return 'not-equal'
      const canTimeOut = turn.hasTimeouts && timeoutMs < Number.POSITIVE_INFINITY
      const isWoken = turn.sleep(word, canTimeOut)
      // A sleeper is woken late: if it has a timeout, no time is left.
      if (canTimeOut) turn.nowMs += timeoutMs
      return isWoken ? 'ok' : 'timed-out'
    },
    /** The agent's own event loop resolves its promise. */
    waitAsync(given: Words, index: number, expected: number) {
      const array = targetOf(given)
      if (!isStep(array)) throw new Error('The interleaver knows waitAsync in `run` only')
      const word = wordOf(array, index)
      turn.before(LISTEN, word)
      const value = real.load(array, index)
      if (value === expected) turn.listen(word)
      turn.done(LISTEN, word, 0, expected, value)
      if (value !== expected) return { async: false, value: 'not-equal' }
      return { async: true, value: loop.listen(word) }
    },
    isLockFree: real.isLockFree.bind(real),
    [Symbol.toStringTag]: 'Atomics',
  }
  return stepping as unknown as typeof Atomics
}
