import { closeSync, openSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Segment, type SegmentDescription } from '../../src/index.js'
import { openTemporary } from '../../src/segment/creation.js'
import { locate } from '../../src/segment/location.js'
import { Child, endAllChildren } from '../support/child.js'
import { counter, ledger } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

function listed(name: string): SegmentDescription | undefined {
  return Segment.list().find((description) => description.name === name)
}

describe('Segment.list()', () => {
  it('describes a segment: size, layout, peers, backlog', () => {
    const name = uniqueName()
    using segment = Segment.create(name, ledger)
    expect(listed(name)).toEqual({
      name,
      byteLength: segment.bytes.byteLength,
      signature: 'test-ledger@1',
      peers: segment.peers.list(),
      hasBacklog: false,
    })
    expect(listed(name)?.peers).toMatchObject([{ pid: process.pid, isDead: false }])
    segment.root.written = 3
    expect(listed(name)?.hasBacklog).toBe(true)
    segment.root.read = 3
    expect(listed(name)?.hasBacklog).toBe(false)
  })

  it('lists a segment without peers, too, until it is unlinked', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    expect(listed(name)).toMatchObject({ peers: [], signature: counter.signature })
    Segment.unlink(name)
    expect(listed(name)).toBeUndefined()
  })

  it('shows a dead peer until a new one has its slot', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const child = Child.start(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      const segment = Segment.open(name, struct({ count: u32(), other: u32() }))
      kit.tell(segment.peers.self)
      await kit.hear()
    }, name)
    const peer = await child.next()
    const description = { peer, pid: child.pid, threadId: 0 }
    expect(listed(name)?.peers).toContainEqual(expect.objectContaining({ ...description, isDead: false }))
    await child.kill()
    expect(listed(name)?.peers).toContainEqual(expect.objectContaining({ ...description, isDead: true }))
    using successor = Segment.open(name, counter)
    expect(listed(name)?.peers.map(({ peer }) => peer)).toEqual([segment.peers.self, successor.peers.self])
  })

  it('passes over anonymous and unfinished segments', () => {
    using anonymous = Segment.createAnonymous(ledger)
    const unfinished = openTemporary(locate(uniqueName()), 0o600)
    const names = Segment.list().map(({ name }) => name)
    expect(names.filter((name) => name.startsWith('/.isthmus-') || name === '/')).toEqual([])
    expect(anonymous.peers.list()).toHaveLength(1)
    unfinished.discard()
    closeSync(unfinished.fd)
  })

  it('changes nothing, and keeps nothing open', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const fd = openSync(pathOf(name), 'r')
    closeSync(fd)
    const before = holdingsUnder('/dev/shm')
    for (let turn = 0; turn < 20; turn++) Segment.list()
    expect(holdingsUnder('/dev/shm')).toEqual(before)
    // The next descriptor has the same number: none was left open.
    const next = openSync(pathOf(name), 'r')
    closeSync(next)
    expect(next).toBe(fd)
  })
})
