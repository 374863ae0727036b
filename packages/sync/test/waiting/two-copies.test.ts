import { expect, test } from 'vitest'
import * as sources from '../../src/index.js'
import { fallbackPolling } from '../../src/internal.js'
import { withoutSafetyNet } from '../support/safety-net.js'
import { soon, stateOf } from '../support/waiting.js'

withoutSafetyNet()

test('Two copies of the package in one program wake each other', async () => {
  const built = (await import('../../dist/index.js')) as unknown as typeof sources
  expect(built.HeapRegion).not.toBe(sources.HeapRegion)
  const builtInternal = (await import('../../dist/internal.js')) as unknown as { fallbackPolling: object }
  Object.assign(builtInternal.fallbackPolling, fallbackPolling)
  // The region, and so the wake-up channel, is of one copy; the structure, and so the wait, is of the other.
  const region = sources.HeapRegion.create(built.futex())
  const other = sources.HeapRegion.attach(region.handle, built.futex())
  const waiting = region.root.waitWhile(0)
  expect(await stateOf(waiting)).toBe('pending')
  other.root.value = 1
  other.root.notifyAll()
  expect(await soon(waiting)).toBe(true)
})
