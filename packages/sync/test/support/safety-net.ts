import { afterEach, beforeEach } from 'vitest'
import { safetyNet } from '../../src/index.js'

/** For all tests of a file: a wake-up that is lost stays lost, and the test hangs. */
export function withoutSafetyNet(): void {
  const before = { ...safetyNet }
  beforeEach(() => {
    Object.assign(safetyNet, { sliceMs: 1e9, tickMs: 1e9, passOnMs: Number.POSITIVE_INFINITY })
  })
  afterEach(() => {
    Object.assign(safetyNet, before)
  })
}
