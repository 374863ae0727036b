/** What is asked of the runtime here. Browsers do not tell. */
interface Runtime {
  readonly process?: { readonly arch?: unknown }
}

/** These processors keep the order of loads by themselves. */
const KEEP_ORDER: readonly unknown[] = ['x64', 'ia32']
const mustOrder = !KEEP_ORDER.includes((globalThis as Runtime).process?.arch)

/** Memory of this thread alone. A page that is not isolated has no SharedArrayBuffer, and no regions either. */
const own = new Int32Array(typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(4) : new SharedArrayBuffer(4))

/**
 * Plain loads before this call come before Atomics loads after it, also on machines that reorder loads (arm64). The
 * store waits for the loads before it, and an Atomics load after it cannot pass it.
 */
export function orderReads(): void {
  if (mustOrder) Atomics.store(own, 0, 0)
}
