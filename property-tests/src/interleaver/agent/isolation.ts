import type { AgentLoop } from './agent-loop.js'
import { steppingAtomics } from './stepping-atomics.js'
import type { Turn } from './turn.js'
import { watchArrays } from './watched-arrays.js'

/**
 * Puts this thread under the rule of the scheduler. To be called before the packages are imported.
 * It claims a single core, so that a wait sleeps without spinning first. The reads of a spin would be repeated right before
 * the sleep anyway.
 */
export function isolate(region: SharedArrayBuffer, plainWords: Uint8Array, turn: Turn, loop: AgentLoop): void {
  watchArrays(region, plainWords, turn)
  replaceGlobal('Atomics', steppingAtomics(region, turn, loop))
  replaceGlobal('performance', { now: () => turn.nowMs })
  replaceGlobal('navigator', { hardwareConcurrency: 1 })
  for (const [name, value] of Object.entries(loop.globals)) replaceGlobal(name, value)
}

function replaceGlobal(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true, enumerable: false })
}
