import { afterEach, beforeEach } from 'vitest'
import { fallbackPolling } from '../../src/internal.js'

/** Switches fallback polling off in all tests of a file: then a lost wake-up stays lost, and the test hangs. `net` may be that of another copy. */
export function withoutSafetyNet(net: typeof fallbackPolling = fallbackPolling): void {
  const before = { ...net }
  beforeEach(() => {
    Object.assign(net, { sliceMs: 1e9, tickMs: 1e9, handOffMs: Number.POSITIVE_INFINITY })
  })
  afterEach(() => {
    Object.assign(net, before)
  })
}
