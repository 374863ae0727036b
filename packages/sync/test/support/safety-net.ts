import { afterEach, beforeEach } from 'vitest'
import { fallbackPolling } from '../../src/internal.js'

/** For all tests of a file: a wake-up that is lost stays lost, and the test hangs. `net` is that of another copy. */
export function withoutSafetyNet(net: typeof fallbackPolling = fallbackPolling): void {
  const before = { ...net }
  beforeEach(() => {
    Object.assign(net, { sliceMs: 1e9, tickMs: 1e9, handOffMs: Number.POSITIVE_INFINITY })
  })
  afterEach(() => {
    Object.assign(net, before)
  })
}
