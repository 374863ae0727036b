import { nowMs } from '@isthmus/sync/internal'
import { addressOf, mapAgainOver } from '../native/memory-map.js'
import { hasCode } from '../native/system-error.js'

/** A plain ArrayBuffer over the same file as a mapping that exists, at an address of its own. */
export interface PlainAlias {
  readonly bytes: Uint8Array
  readonly address: number
}

const PAGE_BYTES = 4096
const WASM_PAGE_BYTES = 65_536
/** V8 collects all garbage several times before it reports that there is no room, so this is not tried often. */
const TRY_AGAIN_AFTER_MS = 60_000

let noRoomUntilMs = Number.NEGATIVE_INFINITY

/**
 * Maps the file a second time, over the beginning of a WebAssembly.Memory. Its buffer is a plain ArrayBuffer that V8 makes by
 * itself, on whole pages, with a fixed length, and unmaps when it is collected; no transfer can detach it. The rest of its
 * last 64 KiB stays V8's. A native binding could make a buffer at the same address instead. But a native call that makes a
 * JavaScript object fails if its thread is being terminated just then, and the binding then aborts the process.
 *
 * @returns undefined if there is no room for it, or no WebAssembly. Each alias takes two mappings, and about 10 GiB of
 * addresses, which V8 reserves so that compiled code need not check bounds. A process has 128 TiB of addresses unless a
 * limit is set (ulimit -v).
 */
export function tryPlainAlias(address: number, byteLength: number): PlainAlias | undefined {
  const buffer = tryMemory(byteLength)
  if (buffer === undefined) return undefined
  const bytes = new Uint8Array(buffer, 0, byteLength)
  const aliasAddress = addressOf(bytes)
  if (aliasAddress % PAGE_BYTES !== 0) return undefined
  try {
    mapAgainOver(aliasAddress, address, byteLength)
  } catch (error) {
    // The process has as many mappings as it may have (vm.max_map_count).
    if (hasCode(error, 'ENOMEM')) return undefined
    throw error
  }
  return { bytes, address: aliasAddress }
}

/** The part of WebAssembly that is used; Node.js's types have it without its classes. */
interface WebAssemblyMemories {
  readonly Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

function tryMemory(byteLength: number): ArrayBuffer | undefined {
  // `node --jitless` has none.
  const { WebAssembly } = globalThis as { readonly WebAssembly?: WebAssemblyMemories }
  if (WebAssembly === undefined || nowMs() < noRoomUntilMs) return undefined
  const pages = Math.ceil(byteLength / WASM_PAGE_BYTES)
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer
  } catch {
    // There is no room, or fewer pages are allowed (--wasm-max-mem-pages).
    noRoomUntilMs = nowMs() + TRY_AGAIN_AFTER_MS
    return undefined
  }
}
