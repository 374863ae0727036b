import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import type { Effects } from './effects.js'

/**
 * Counters in front of everything through which the packages change what other processes can see: koffi's functions,
 * the global `Atomics`, and what they use of node:fs. They are installed from outside; the packages are the built ones.
 */

type Native = (...parameters: unknown[]) => unknown

/** An fcntl that only asks for a lock's holder: no effect. */
const F_OFD_GETLK = 36
const F_UNLCK = 2
/** What a `syscall` does, by the number of its arguments. */
const SYSTEM_CALLS: { readonly [count: number]: string } = {
  4: 'futex wake',
  5: 'futex wait',
  7: 'write to a wake-up FIFO',
}

export interface NativeHook {
  effects: Effects | undefined
  /** Called with the path of each FIFO before it is made. */
  onFifo: (path: string) => void
}

/** Must be called before the packages make their first native call. Which calls count is decided later. */
export function hookNativeCalls(): NativeHook {
  const hook: NativeHook = { effects: undefined, onFifo: () => {} }
  const koffi = createRequire(import.meta.url)('koffi')
  const load = koffi.load
  koffi.load = (...parameters: unknown[]) => {
    const library = load(...parameters)
    const func = (first: string, ...rest: unknown[]): Native => {
      const native: Native = library.func(first, ...rest)
      const name = /(\w+)\s*(\(|$)/.exec(first)?.[1] ?? first
      return (...given) => take(hook, name, given, () => native(...given))
    }
    return { func }
  }
  return hook
}

function take(hook: NativeHook, name: string, given: unknown[], action: () => unknown): unknown {
  const { effects } = hook
  if (effects === undefined || (name === 'fcntl' && given[1] === F_OFD_GETLK)) return action()
  if (name === 'mkfifo') hook.onFifo(given[0] as string)
  return effects.take(() => textOfCall(name, given), action)
}

function textOfCall(name: string, given: unknown[]): string {
  if (name === 'syscall') return SYSTEM_CALLS[given.length] ?? name
  if (name === 'fcntl' && given[2] instanceof Uint8Array) return given[2][0] === F_UNLCK ? 'fcntl unlock' : 'fcntl lock'
  return `${name}(${given.map(textOfValue).join(', ')})`
}

function textOfValue(value: unknown): string {
  if (typeof value === 'string') return shortened(value)
  if (typeof value === 'number' || typeof value === 'bigint') return value > 2 ** 32 ? 'address' : String(value)
  return value instanceof Uint8Array ? `${value.byteLength} bytes` : typeof value
}

type Words = Int32Array<SharedArrayBuffer>

/** Loads change nothing, so they do not count: a death at a load equals a death before the next effect. */
export function hookAtomics(effects: Effects): void {
  const real = Atomics
  const place = (array: Words, index: number) => `@${array.byteOffset + index * array.BYTES_PER_ELEMENT}`
  const modifying = (operation: 'store' | 'add' | 'sub' | 'and' | 'or' | 'xor' | 'exchange') => {
    return (array: Words, index: number, value: number): number =>
      effects.take(
        () => `${operation} ${place(array, index)} ${value}`,
        () => real[operation](array, index, value),
      )
  }
  const hooked = {
    ...{ load: real.load, wait: real.wait, waitAsync: real.waitAsync, isLockFree: real.isLockFree },
    store: modifying('store'),
    add: modifying('add'),
    sub: modifying('sub'),
    and: modifying('and'),
    or: modifying('or'),
    xor: modifying('xor'),
    exchange: modifying('exchange'),
    compareExchange: (array: Words, index: number, expected: number, replacement: number) =>
      effects.take(
        () => `compareExchange ${place(array, index)} ${expected} -> ${replacement}`,
        () => real.compareExchange(array, index, expected, replacement),
      ),
    notify: (array: Words, index: number, count?: number) =>
      effects.take(
        () => `notify ${place(array, index)}`,
        () => real.notify(array, index, count),
      ),
    [Symbol.toStringTag]: 'Atomics',
  }
  Object.defineProperty(globalThis, 'Atomics', { value: hooked, configurable: true, writable: true })
}

const FILE_FUNCTIONS = [
  'openSync',
  'closeSync',
  'unlinkSync',
  'linkSync',
  'renameSync',
  'writeSync',
  'fchmodSync',
  'fchownSync',
  'ftruncateSync',
  'fsyncSync',
] as const

export function hookFileSystem(effects: Effects): void {
  for (const name of FILE_FUNCTIONS) {
    const real = fs[name] as Native
    const hooked: Native = (...given) =>
      effects.take(
        () => `${name}(${given.map(textOfValue).join(', ')})`,
        () => real(...given),
      )
    Object.assign(fs, { [name]: hooked })
  }
  syncBuiltinESMExports()
}

function shortened(path: string): string {
  return path.replace(/^\/dev\/shm\//, '').replace(/[0-9a-f]{16}/, '…')
}
