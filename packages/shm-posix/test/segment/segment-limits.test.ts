import { statSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Segment } from '../../src/index.js'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

describe('A segment in a full /dev/shm', () => {
  it('is not created (ENOSPC, with advice), leaves nothing behind, and no access faults', async () => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, struct, u32 } = await kit.load()
        const blob = (byteLength: number) => ({
          ...struct({ count: u32() }),
          byteLength,
          signature: `blob(${byteLength})`,
        })
        const free = () => {
          const { bavail, bsize } = kit.fs.statfsSync('/dev/shm')
          return bavail * bsize
        }
        const wholeBytes = free()
        const failures = [1 << 20, 1 << 24, 0xffff0000].map((byteLength) =>
          kit.failureOf(() => Segment.create('/large', blob(byteLength))),
        )
        const orCreate = kit.failureOf(() => Segment.openOrCreate('/large', blob(1 << 20)))
        const left = [kit.fs.readdirSync('/dev/shm'), wholeBytes - free()]

        // Fill it to the last page, and touch every page.
        const layouts: ReturnType<typeof blob>[] = []
        const segments: ReturnType<typeof Segment.create<ReturnType<(typeof layouts)[0]['attach']>>>[] = []
        let last: ReturnType<typeof kit.failureOf>
        for (let byteLength = 1 << 19; byteLength >= 1; ) {
          last = kit.failureOf(() => {
            segments.push(Segment.create(`/part-${segments.length}`, blob(byteLength)))
            layouts.push(blob(byteLength))
          })
          if (last !== undefined) byteLength >>= 1
        }
        for (const { bytes, root } of segments) {
          for (let at = 0; at < bytes.length; at += 1024) bytes[at] += 0
          root.count.value = 7
        }
        const isFull = free() < segments[0].bytes.byteLength
        // Existing segments are opened, written and removed all the same.
        const again = layouts.map((layout, at) => Segment.open(`/part-${at}`, layout))
        const counts = again.map(({ root }) => root.count.value)
        // An anonymous segment needs no room in /dev/shm.
        Segment.createAnonymous(blob(1 << 21)).bytes.fill(1)
        const names = segments.length
        for (const segment of [...segments, ...again]) segment.close()
        for (let at = 0; at < names; at++) Segment.unlink(`/part-${at}`)
        Segment.create('/fits', blob(1 << 19)).close()
        return { failures, orCreate, left, last, isFull, areWhole: counts.every((count) => count === 7), names }
      },
      null,
      { wrapper: withOwnSharedMemory('1m') },
    )
    const full = {
      name: 'SystemCallError',
      code: 'ENOSPC',
      syscall: 'posix_fallocate',
      message: expect.stringMatching(/df -h \/dev\/shm.*64 MB.*--shm-size/),
    }
    expect(seen.failures).toMatchObject([full, full, full])
    expect(seen).toMatchObject({ orCreate: full, last: full, left: [[], 0], isFull: true, areWhole: true })
    expect(seen.names).toBeGreaterThan(2)
  })

  it('is not created if no inode is left', async () => {
    const failure = await inChild(
      async (kit) => {
        const { Segment, struct, u32 } = await kit.load()
        return kit.failureOf(() => {
          for (let at = 0; ; at++) Segment.create(`/segment-${at}`, struct({ count: u32() }))
        })
      },
      null,
      { wrapper: withOwnSharedMemory('10m,nr_inodes=8') },
    )
    expect(failure).toMatchObject({ code: 'ENOSPC', name: 'SystemCallError', syscall: 'open' })
    expect(failure?.message).toMatch(/full/)
  })
})

describe('A segment under ulimit -f', () => {
  it('is not created if it would be larger (EFBIG, with advice), and is created if it is smaller', async () => {
    const seen = await inChild(
      async (kit, name) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const large = { ...layout, byteLength: 1 << 20, signature: 'large' }
        const failures = [
          () => Segment.create(name, large),
          () => Segment.openOrCreate(name, large),
          () => Segment.createAnonymous(large),
        ].map(kit.failureOf)
        const small = Segment.create(name, layout)
        small.root.count.value = 3
        return { failures, count: small.root.count.value }
      },
      uniqueName(),
      // In blocks of 512 bytes: 64 KiB.
      { wrapper: ['sh', '-c', 'ulimit -f 128 && exec "$@"', 'sh'] },
    )
    const tooLarge = { code: 'EFBIG', syscall: 'posix_fallocate', message: expect.stringMatching(/ulimit -f/) }
    expect(seen).toMatchObject({ failures: [tooLarge, tooLarge, tooLarge], count: 3 })
  })
})

describe('A segment of another user', () => {
  /** Runs with another user's rights if possible; if not, the mode shuts out even the owner. */
  const attempt = (name: string) =>
    inChild(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      const layout = struct({ count: u32(), other: u32() })
      // Everything is loaded before the rights are given up.
      Segment.createAnonymous(layout).close()
      if (process.getuid?.() === 0) {
        process.setgroups?.([])
        process.setgid?.(65534)
        process.setuid?.(65534)
      }
      const isListed = Segment.list().some((description) => description.name === name)
      const failures = [
        () => Segment.open(name, layout).root.count.add(1),
        () => Segment.openOrCreate(name, layout),
        () => Segment.create(name, layout),
        () => Segment.unlink(name),
      ].map((attempt) => kit.failureOf(attempt)?.code ?? null)
      return { failures, isListed }
    }, name)
  const mode = process.getuid?.() === 0 ? 0o600 : 0o000

  it('is refused with EACCES, not listed, and not touched', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter, { mode })
    const { ino } = statSync(pathOf(name))
    const seen = await attempt(name)
    expect(seen).toEqual({ failures: ['EACCES', 'EACCES', 'EEXIST', 'EACCES'], isListed: false })
    expect(segment.root.count.value).toBe(0)
    expect(statSync(pathOf(name)).ino).toBe(ino)
  })

  it('is refused with a message that says how its creator can allow it', async () => {
    const name = uniqueName()
    using _segment = Segment.create(name, counter, { mode })
    const failure = await inChild(async (kit, name) => {
      const { Segment, struct, u32 } = await kit.load()
      const layout = struct({ count: u32(), other: u32() })
      Segment.createAnonymous(layout).close()
      if (process.getuid?.() === 0) process.setuid?.(65534)
      return kit.failureOf(() => Segment.open(name, layout))
    }, name)
    expect(failure).toMatchObject({
      name: 'SystemCallError',
      code: 'EACCES',
      syscall: 'open',
      message: expect.stringMatching(/option mode/),
    })
  })

  it('is opened if its mode allows it', async () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter, { mode: 0o666 })
    const { failures, isListed } = await attempt(name)
    // The name may not be removed: the directory is another user's, and sticky.
    expect(failures.slice(0, 3)).toEqual([null, null, 'EEXIST'])
    expect(isListed).toBe(true)
    expect(segment.root.count.value).toBe(1)
  })

  it('is not marked as removed by a user who may write it, but not remove its name', async () => {
    const name = uniqueName()
    Segment.create(name, counter, { mode: 0o666 }).close()
    const { failures } = await attempt(name)
    const isSuperuser = process.getuid?.() === 0
    expect(failures[3]).toBe(isSuperuser ? 'EPERM' : null)
    if (!isSuperuser) return
    using segment = Segment.open(name, counter)
    expect(segment.root.count.value).toBe(1)
  })

  it('is passed over by prune if its name may not be removed, and the rest is pruned', async () => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32(), other: u32() })
        kit.fs.chmodSync('/dev/shm', 0o1777)
        Segment.create('/of-another', layout, { mode: 0o666 }).close()
        // In a user namespace there is no other user: then every segment is one's own.
        const isAnother = kit.failureOf(() => process.setuid?.(65534)) === undefined
        for (const name of ['/a', '/z']) Segment.create(name, layout).close()
        const failure = kit.failureOf(() => Segment.prune())
        return { failure, isAnother, left: kit.fs.readdirSync('/dev/shm').sort() }
      },
      null,
      { wrapper: withOwnSharedMemory('1m') },
    )
    expect(seen.failure).toBeUndefined()
    expect(seen.left).toEqual(seen.isAnother ? ['of-another'] : [])
  })
})
