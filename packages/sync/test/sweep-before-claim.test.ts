import { describe, expect, it } from 'vitest'
import {
  type Attached,
  barrier,
  condvar,
  futex,
  type HeapRegion,
  type Layout,
  mutex,
  type Region,
  rwLock,
  semaphore,
} from '../src/index.js'
import { planHeader } from '../src/internal.js'
import { attach } from './support/regions.js'

/** The region as a newcomer has it while it claims a slot: it sweeps the last holder before it has a peer id itself. */
function withoutPeerSlot(region: HeapRegion<unknown>): Region {
  const peers = replacing(region.peers, 'self', () => {
    throw new Error('A sweep asked for the id of a peer that has none yet')
  })
  return replacing(region, 'peers', () => peers)
}

function replacing<T extends object>(object: T, key: keyof T, value: () => unknown): T {
  return new Proxy(object, {
    get(target, name) {
      if (name === key) return value()
      const found = Reflect.get(target, name, target)
      return typeof found === 'function' ? found.bind(target) : found
    },
  })
}

/** One attachment holds something and dies; another one sweeps it, and takes the same. */
function sweptAndTaken<T>(layout: Layout<T>, take: (root: T) => unknown): unknown {
  const [region, dead] = attach(layout, 2)
  expect(take(dead.root)).toBeTruthy()
  layout.sweep(withoutPeerSlot(region), planHeader(layout).rootByteOffset, dead.peers.self)
  return take(region.root)
}

describe('a newcomer that has no peer slot yet', () => {
  it('sweeps the mutex of a dead owner', () => {
    expect(sweptAndTaken(mutex(), (root) => root.tryLock())).toMatchObject({ ownerDied: true })
  })

  it('sweeps the permit of a dead holder', () => {
    expect(sweptAndTaken(semaphore({ permits: 1 }), (root) => root.tryAcquire())).toBeDefined()
  })

  it('sweeps a dead writer, and a dead reader', () => {
    expect(sweptAndTaken(rwLock(), (root) => root.tryWriteLock())).toMatchObject({ ownerDied: true })
    const [region, reader] = attach(rwLock(), 2)
    reader.root.tryReadLock()
    expect(region.root.tryWriteLock()).toBeUndefined()
    rwLock().sweep(withoutPeerSlot(region), planHeader(rwLock()).rootByteOffset, reader.peers.self)
    expect(region.root.tryWriteLock()).toBeDefined()
  })

  it('sweeps a dead member of a barrier', () => {
    const joinAndCount = (root: Attached<ReturnType<typeof barrier>>) => {
      root.join()
      return root.describe().members.length
    }
    expect(sweptAndTaken(barrier({ onDeath: 'drop' }), joinAndCount)).toBe(1)
  })

  it.each([
    ['condvar', condvar()],
    ['futex', futex()],
  ])('sweeps a dead waiter of a %s', (_, layout) => {
    expect(sweptAndTaken(layout as Layout<object>, (root) => root)).toBeDefined()
  })
})
