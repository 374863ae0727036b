import fs, { closeSync, existsSync, openSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'
import { PEERS_BYTE_OFFSET } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { type PruneOptions, Segment } from '../../src/index.js'
import { openTemporary } from '../../src/segment/creation.js'
import { HeaderLockDeadline, withHeaderLock } from '../../src/segment/header-lock.js'
import { locate } from '../../src/segment/location.js'
import { Child, endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { counter, ledger } from '../support/ledger.js'
import { NAME_PREFIX, pathOf, removeEverything, takenNames, temporaryDirectory, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

/** A process that attaches to a segment until it is killed. */
async function startPeer(name: string): Promise<Child<unknown>> {
  const child = Child.start(async (kit, name) => {
    const { Segment, struct, u32 } = await kit.load()
    const segment = Segment.open(name, struct({ count: u32(), other: u32() }))
    kit.tell(segment.peers.self)
    await kit.hear()
    segment.close()
  }, name)
  await child.next()
  return child
}

describe('A segment that replaces another one between its opening and its header lock', () => {
  it('is not pruned in place of that one', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const successor = interpose(() => replace(name))
    expect(prune()).toEqual([])
    using segment = successor()
    expect(segment.words[3]).toBe(1)
    expect(inodeOf(pathOf(name))).toBe(inodeOf(segment.handle.path))
  })

  it('is unlinked like any other', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const successor = interpose(() => replace(name))
    Segment.unlink(name)
    using segment = successor()
    expect(segment.words[3]).toBe(2)
    expect(takenNames()).toEqual([])
  })

  it('is opened in place of that one', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const successor = interpose(() => replace(name))
    using opened = Segment.open(name, counter)
    using segment = successor()
    expect(opened.handle.segmentId).toBe(segment.handle.segmentId)
  })

  it('is missed by open if there is none', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const removed = interpose(() => Segment.unlink(name))
    expectCode('ENOENT', () => Segment.open(name, counter))
    removed()
  })

  function replace(name: string): Segment<unknown> {
    Segment.unlink(name)
    return Segment.create(name, counter)
  }

  function inodeOf(path: string): number {
    return statSync(path).ino
  }

  /** Runs the action right before the next fstat. Returns a function that gives its result. */
  function interpose<R>(action: () => R): () => R {
    const { fstatSync } = fs
    const restore = (replacement: typeof fstatSync) => {
      fs.fstatSync = replacement
      syncBuiltinESMExports()
    }
    const results: R[] = []
    const interposed = (...stat: Parameters<typeof fstatSync>) => {
      restore(fstatSync)
      results.push(action())
      return fstatSync(...stat)
    }
    restore(interposed as typeof fstatSync)
    return () => {
      restore(fstatSync)
      if (results.length === 0) throw new Error('There was no fstat')
      return results[0]
    }
  }
})

describe('Segment.unlink()', () => {
  it('marks the segment as removed for processes that have its file open', () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    Segment.unlink(name)
    expect(segment.words[3]).toBe(2)
    segment.root.count.value = 1
  })

  it('removes a segment with live peers, and leaves them alone', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const peer = await startPeer(name)
    Segment.unlink(name)
    expect(takenNames()).toEqual([])
    expect(segment.peers.list().map(({ isDead }) => isDead)).toEqual([false, false])
    peer.say('go')
    await peer.result
  })

  it('waits for the header lock until its deadline', () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const fd = openSync(pathOf(name), 'r+')
    withHeaderLock({ fd, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => {
      const error = expectCode('ERR_ISTHMUS_BUSY', () => Segment.unlink(name, { lockTimeoutMs: 20 }))
      expect(error.message).toContain(`process ${process.pid}`)
    })
    closeSync(fd)
    expect(segment.words[3]).toBe(1)
    Segment.unlink(name)
  })

  it('keeps nothing open', () => {
    const before = holdingsUnder('/dev/shm')
    for (let turn = 0; turn < 20; turn++) {
      const name = uniqueName()
      Segment.create(name, counter).close()
      Segment.unlink(name)
      expectCode('ENOENT', () => Segment.unlink(name))
    }
    expect(holdingsUnder('/dev/shm')).toEqual(before)
  })
})

/** Prunes the names of these tests only. */
function prune(options: PruneOptions = {}): string[] {
  return Segment.prune({ ...options, prefix: NAME_PREFIX })
}

describe('Segment.prune()', () => {
  it('removes segments without peers', () => {
    const names = [uniqueName(), uniqueName()]
    for (const name of names) Segment.create(name, counter).close()
    expect(prune().sort()).toEqual(names.sort())
    expect(takenNames()).toEqual([])
    expect(prune()).toEqual([])
  })

  it('keeps segments of this thread, forced or not', () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    expect(prune()).toEqual([])
    expect(prune({ force: true })).toEqual([])
    using other = Segment.open(name, counter)
    expect(other.handle.segmentId).toBe(segment.handle.segmentId)
    expect(segment.words[3]).toBe(1)
  })

  it('keeps a segment while its one peer runs or is stopped, and removes it when the peer was killed', async () => {
    const name = uniqueName()
    const own = Segment.create(name, counter)
    const peer = await startPeer(name)
    own.close()
    expect(prune({ force: true })).toEqual([])
    process.kill(peer.pid, 'SIGSTOP')
    expect(prune({ force: true })).toEqual([])
    await peer.kill()
    expect(prune()).toEqual([name])
    expect(existsSync(pathOf(name))).toBe(false)
  })

  it('keeps undelivered data of dead peers unless forced', () => {
    const name = uniqueName()
    const segment = Segment.create(name, ledger)
    segment.root.written = 5
    segment.root.read = 4
    segment.close()
    expect(prune()).toEqual([])
    expect(prune({ force: false })).toEqual([])
    const again = Segment.open(name, ledger)
    expect(again.root.written).toBe(5)
    again.root.read = 5
    again.close()
    expect(prune()).toEqual([name])

    const forced = Segment.create(name, ledger)
    forced.root.written = 1
    forced.close()
    expect(prune({ force: true })).toEqual([name])
  })

  it('keeps a segment whose backlog words lie outside of it: it may contain data', () => {
    const name = uniqueName()
    const segment = Segment.create(name, ledger)
    // The pairs follow the signature text, 4-aligned.
    const pairsByteOffset = Math.ceil((segment.words[13] + segment.words[14]) / 4) * 4
    segment.words[pairsByteOffset / 4] = segment.bytes.byteLength
    segment.words[pairsByteOffset / 4 + 1] = segment.bytes.byteLength
    segment.close()
    expect(prune()).toEqual([])
    expect(prune({ force: true })).toEqual([name])
  })

  it('ignores what dead processes have written about themselves', () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    const states = [1, 5, 127].map((slot) => (PEERS_BYTE_OFFSET + slot * 64) / 4)
    for (const word of states) {
      segment.words[word] = (3 << 3) | 1
      segment.words[word + 1] = process.pid
    }
    expect(segment.peers.list().filter(({ isDead }) => isDead)).toHaveLength(3)
    segment.close()
    expect(prune()).toEqual([name])
  })

  it('passes over a segment whose header lock is taken, without waiting', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const fd = openSync(pathOf(name), 'r+')
    withHeaderLock({ fd, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), () => expect(prune()).toEqual([]))
    closeSync(fd)
    expect(prune()).toEqual([name])
  })

  it('removes the unfinished file of a dead creator, and not that of a live one', () => {
    const location = locate(uniqueName())
    const [dead, live] = [openTemporary(location, 0o600), openTemporary(location, 0o600)]
    const [deadPath, livePath] = [dead, live].map(({ fd }) => readlinkSync(`/proc/self/fd/${fd}`))
    const pruneBoth = () =>
      [deadPath, livePath].flatMap((path) => Segment.prune({ prefix: `/${basename(path)}`, force: true }))
    expect(pruneBoth()).toEqual([])
    closeSync(dead.fd)
    expect(pruneBoth()).toEqual([`/${basename(deadPath)}`])
    expect([existsSync(deadPath), existsSync(livePath)]).toEqual([false, true])
    live.publish()
    closeSync(live.fd)
    expect([existsSync(livePath), existsSync(location.path)]).toEqual([false, true])
  })

  it("keeps another program's file whose name begins like that of an unfinished one", () => {
    const name = `/.isthmus-of-a-program-${process.pid}`
    writeFileSync(pathOf(name), 'precious')
    try {
      expect(Segment.prune({ prefix: name, force: true })).toEqual([])
      expect(existsSync(pathOf(name))).toBe(true)
    } finally {
      rmSync(pathOf(name), { force: true })
    }
  })

  it('removes only names with the prefix', () => {
    const names = [uniqueName(), `${uniqueName()}-of-mine`, `${uniqueName()}-of-mine-too`]
    for (const name of names) Segment.create(name, counter).close()
    expect(Segment.prune({ prefix: names[1] })).toEqual([names[1]])
    expect(Segment.prune({ prefix: names[2].slice(0, -3) })).toEqual([names[2]])
    expect(Segment.prune({ prefix: names[0].slice(1) })).toEqual([])
    expect(takenNames()).toEqual([names[0]])
  })

  it('does not touch segment files', () => {
    const file = join(temporaryDirectory(), 'segment')
    Segment.create({ file }, counter).close()
    expect(prune({ force: true })).toEqual([])
    expect(statSync(file).size).toBeGreaterThan(0)
  })

  it('works in a /dev/shm that contains all kinds of files', async () => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        kit.fs.writeFileSync('/dev/shm/text', 'precious')
        kit.fs.mkdirSync('/dev/shm/directory')
        kit.fs.symlinkSync('/dev/shm/unused', '/dev/shm/link')
        for (const name of ['/unused', '/.hidden', '/with space', '/日本']) Segment.create(name, layout).close()
        const live = Segment.create('/live', layout)
        const listed = Segment.list().map(({ name }) => name)
        const pruned = Segment.prune()
        // The folder belongs to the thread of the segment that is in use.
        const left = kit.fs.readdirSync('/dev/shm').filter((fileName) => !/^isthmus-\d+$/.test(fileName))
        live.close()
        return [listed, pruned, left].map((names) => names.sort())
      },
      null,
      { wrapper: withOwnSharedMemory('10m') },
    )
    const unused = ['/.hidden', '/unused', '/with space', '/日本']
    expect(seen).toEqual([[...unused, '/live'].sort(), unused, ['directory', 'link', 'live', 'text']])
  })

  it('passes over a name that is not UTF-8, as list does', async () => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, struct, u32 } = await kit.load()
        // Decoded as text, each byte would become a character of three bytes, and the name would be too long.
        const path = Buffer.concat([Buffer.from('/dev/shm/'), Buffer.alloc(100, 0xff)])
        kit.fs.writeFileSync(path, 'precious')
        Segment.create('/unused', struct({ count: u32() })).close()
        const listing = kit.failureOf(() => Segment.list())
        const pruning = kit.failureOf(() => Segment.prune())
        return { listing, pruning, unused: kit.fs.existsSync('/dev/shm/unused'), other: kit.fs.existsSync(path) }
      },
      null,
      { wrapper: withOwnSharedMemory('1m') },
    )
    expect(seen).toEqual({ unused: false, other: true })
  })
})
