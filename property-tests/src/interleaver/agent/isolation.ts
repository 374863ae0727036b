import { steppingAtomics } from './stepping-atomics.js'
import type { Turn } from './turn.js'
import { watchArrays } from './watched-arrays.js'

/**
 * Puts this thread under the scheduler's rule. To be called before the packages are imported.
 * A single core is claimed, so that a wait sleeps without spinning before: its looks are reads that it makes again, right
 * before it sleeps, anyway.
 */
export function isolate(region: SharedArrayBuffer, plainFromByte: number, turn: Turn): void {
  watchArrays(region, plainFromByte, turn)
  replaceGlobal('Atomics', steppingAtomics(region, turn))
  replaceGlobal('performance', { now: () => turn.nowMs })
  replaceGlobal('navigator', { hardwareConcurrency: 1 })
}

function replaceGlobal(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: false })
}
