import * as sync from '@isthmus/sync'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import * as sources from '../../src/index.js'
import { removeEverything, uniqueName } from '../support/names.js'

afterEach(removeEverything)

/** The other copy of both packages in this thread. */
async function loadBuilt(): Promise<typeof sources & typeof sync> {
  const [shm, built] = await Promise.all([import('../../dist/index.js'), import('../../../sync/dist/index.js')])
  expect(built.HeapRegion).not.toBe(sync.HeapRegion)
  return { ...shm, ...built } as unknown as typeof sources & typeof sync
}

describe('Two copies of the packages in one thread', () => {
  it('attach to one segment, and wake each other', async () => {
    const built = await loadBuilt()
    const name = uniqueName()
    using segment = sources.Segment.create(name, sync.futex())
    using other = built.Segment.open(name, built.futex())
    const waiting = other.root.waitWhile(0)
    await new Promise((resolve) => setTimeout(resolve, 50))
    segment.root.value = 1
    segment.root.notifyAll()
    expect(await waiting).toBe(true)
  })

  it('know that they are in one thread, so that a wait for each other would never end', async () => {
    const built = await loadBuilt()
    using segment = sources.Segment.createAnonymous(sync.mutex())
    using other = built.Segment.attach(segment.handle, built.mutex())
    const guard = segment.root.lockSync()
    expectCode('EDEADLK', () => other.root.lockSync({ timeoutMs: 1000 }))
    guard.unlock()
    other.root.lockSync().unlock()
  })
})
