import { lstatSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { f64, struct } from '@isthmus/sync'
import { FIXED_HEADER_BYTES, MAX_PEERS, readHeader, slotOf } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { type AttachOptions, type CreateOptions, Segment, type SegmentFile } from '../../src/index.js'
import { currentBootId } from '../../src/segment/boot-id.js'
import { endAllChildren, inChild } from '../support/child.js'
import { counter, ledger } from '../support/ledger.js'
import { pathOf, removeEverything, takenNames, temporaryDirectory, uniqueName } from '../support/names.js'
import { descriptorsOf, holdingsUnder, mappingsOf } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

/** The kinds of places that have a name. */
const PLACES: [string, () => { where: string | SegmentFile; path: string }][] = [
  [
    'a name',
    () => {
      const name = uniqueName()
      return { where: name, path: pathOf(name) }
    },
  ],
  [
    'a file',
    () => {
      const file = join(temporaryDirectory(), 'segment')
      return { where: { file }, path: file }
    },
  ],
]

describe.each(PLACES)('Segment under %s', (_, place) => {
  it('is created whole: header, structures, one peer', () => {
    const { where, path } = place()
    using segment = Segment.create(where, counter)
    segment.root.count.value = 5
    const file = readFileSync(path)
    expect(file.byteLength).toBe(segment.bytes.byteLength)
    const facts = readHeader(file.subarray(0, FIXED_HEADER_BYTES), { subject: 'it', byteLength: file.byteLength })
    expect(facts).toMatchObject({ state: 1, regionId: segment.handle.segmentId, bootId: currentBootId() })
    expect(file.readUInt32LE(facts.rootByteOffset)).toBe(5)
    expect(segment.peers.list()).toMatchObject([
      { peer: segment.peers.self, pid: process.pid, threadId: expect.any(Number), isDead: false },
    ])
    // Every byte is reserved, so no later access can fail.
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(file.byteLength)
  })

  it('is opened by other attachments, which see the same memory and have peer slots of their own', () => {
    const { where } = place()
    using one = Segment.create(where, counter)
    using other = Segment.open(where, counter)
    one.root.count.value = 1
    expect(other.root.count.add(1)).toBe(1)
    expect(one.root.count.value).toBe(2)
    expect(slotOf(one.peers.self)).not.toBe(slotOf(other.peers.self))
    expect(one.peers.list()).toHaveLength(2)
    expect(one.peers.isDead(other.peers.self)).toBe(false)
    expect(other.handle.segmentId).toBe(one.handle.segmentId)
  })

  it('is not opened with a value that is no layout', () => {
    const { where } = place()
    Segment.create(where, counter).close()
    for (const layout of [undefined, struct, {}]) {
      const attempt = () => Segment.open(where, layout as typeof counter)
      expect(expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', attempt).message).toMatch(/not a layout/)
    }
    using opened = Segment.open(where, counter)
    expect(opened.peers.list()).toHaveLength(1)
  })

  it('keeps its name and its data when its last peer closes', () => {
    const { where } = place()
    const first = Segment.create(where, counter)
    first.root.count.value = 77
    first.close()
    using second = Segment.open(where, counter)
    expect(second.root.count.value).toBe(77)
    expect(second.peers.list()).toHaveLength(1)
  })

  it('is not created a second time, and the first one stays', () => {
    const { where, path } = place()
    using segment = Segment.create(where, counter)
    segment.root.count.value = 3
    const before = lstatSync(path, { bigint: true })
    const error = expectCode('EEXIST', () => Segment.create(where, counter))
    expect(error).toMatchObject({ name: 'SystemCallError', syscall: expect.stringMatching(/link/), path, errno: -17 })
    expect(error.message).toMatch(/^EEXIST: .*openOrCreate/)
    expect(lstatSync(path, { bigint: true })).toMatchObject({ ino: before.ino, mtimeNs: before.mtimeNs })
    expect(segment.root.count.value).toBe(3)
  })

  it('is not opened if it does not exist, and is not made then', () => {
    const { where, path } = place()
    const error = expectCode('ENOENT', () => Segment.open(where, counter))
    expect(error).toMatchObject({ name: 'SystemCallError', syscall: 'open', path, errno: -2 })
    expect(error.message).toMatch(/^ENOENT: .*there is none\. To make it, use create or openOrCreate/)
    expectCode('ENOENT', () => Segment.unlink(where))
    expect(() => statSync(path)).toThrow(/ENOENT/)
  })

  it('is made by the first openOrCreate and opened by the next', () => {
    const { where } = place()
    using first = Segment.openOrCreate(where, counter)
    first.root.count.value = 9
    using second = Segment.openOrCreate(where, counter)
    expect(second.root.count.value).toBe(9)
    expect(second.handle.segmentId).toBe(first.handle.segmentId)
  })

  it('loses its name with unlink, and lives on for its peers', () => {
    const { where, path } = place()
    using old = Segment.create(where, counter)
    using opened = Segment.open(where, counter)
    Segment.unlink(where)
    expect(() => statSync(path)).toThrow(/ENOENT/)
    old.root.count.value = 4
    expect(opened.root.count.value).toBe(4)
    expectCode('ENOENT', () => Segment.open(where, counter))
    using successor = Segment.create(where, counter)
    expect(successor.root.count.value).toBe(0)
    expect(successor.handle.segmentId).not.toBe(old.handle.segmentId)
    using reader = Segment.open(where, counter)
    expect(reader.handle.segmentId).toBe(successor.handle.segmentId)
  })

  it('is refused under another layout, with both shown, and stays usable', () => {
    const { where } = place()
    using segment = Segment.create(where, counter)
    const attempts = [() => Segment.open(where, struct({ total: f64() })), () => Segment.openOrCreate(where, ledger)]
    for (const attempt of attempts) {
      const { message } = expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', attempt)
      expect(message).toContain(counter.signature)
    }
    expect(segment.peers.list()).toHaveLength(1)
    Segment.open(where, counter).close()
  })

  it('is for its user alone unless a mode is given, whatever the umask', () => {
    const umask = process.umask(0o027)
    try {
      for (const [mode, expected] of [
        [undefined, 0o600],
        [0o666, 0o666],
        [0o640, 0o600],
      ] as const) {
        const { where, path } = place()
        const options: CreateOptions = mode === undefined ? {} : { mode }
        Segment.create(where, counter, options).close()
        expect(statSync(path).mode & 0o7777).toBe(expected)
      }
    } finally {
      process.umask(umask)
    }
  })

  it('leaves nothing if its layout fails to initialise', () => {
    const { where, path } = place()
    const holdingsBefore = holdingsUnder(dirname(path))
    const broken = {
      ...counter,
      initialize() {
        throw new Error('cannot be initialised')
      },
    }
    expect(() => Segment.create(where, broken)).toThrow('cannot be initialised')
    expect(() => Segment.openOrCreate(where, broken)).toThrow('cannot be initialised')
    expect(() => statSync(path)).toThrow(/ENOENT/)
    expect(holdingsUnder(dirname(path))).toEqual(holdingsBefore)
    Segment.create(where, counter).close()
  })

  it('gives back descriptor, slot and mapping of an attachment that fails', () => {
    const { where, path } = place()
    using segment = Segment.create(where, ledger)
    const broken = {
      ...ledger,
      sweep() {
        throw new Error('cannot be swept')
      },
    }
    // A slot whose holder died: the next attachment has to sweep it.
    segment.words[(128 + 64) / 4] = (5 << 3) | 1
    expect(() => Segment.open(where, broken)).toThrow('cannot be swept')
    expect([descriptorsOf(path), mappingsOf(path)]).toEqual([1, 1])
    using next = Segment.open(where, ledger)
    expect(slotOf(next.peers.self)).toBe(1)
  })

  it.each([-1, Number.NaN, '5'])('refuses a lockTimeoutMs of %j', (lockTimeoutMs) => {
    const { where } = place()
    const options = { lockTimeoutMs } as AttachOptions
    for (const attempt of [
      () => Segment.create(where, counter, options),
      () => Segment.open(where, counter, options),
      () => Segment.openOrCreate(where, counter, options),
      () => Segment.unlink(where, options),
    ]) {
      const error = expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', attempt)
      expect(error).toBeInstanceOf(typeof lockTimeoutMs === 'number' ? RangeError : TypeError)
      expect(error.message).toMatch(/lockTimeoutMs is/)
    }
  })
})

describe('Segment in a file', () => {
  it.each(['open', 'create', 'openOrCreate'] as const)('reports a missing directory: %s', (attempt) => {
    const directory = join(temporaryDirectory(), 'missing')
    expectCode('ENOENT', () => Segment[attempt]({ file: join(directory, 'segment') }, counter))
    expect(() => statSync(directory)).toThrow(/ENOENT/)
  })

  it.each(['open', 'create', 'openOrCreate'] as const)('reports a directory that is a file: %s', (attempt) => {
    const file = join(temporaryDirectory(), 'file')
    writeFileSync(file, 'text')
    expectCode('ENOTDIR', () => Segment[attempt]({ file: join(file, 'segment') }, counter))
    expect(readFileSync(file, 'utf8')).toBe('text')
  })

  it('is not in the list of named segments', () => {
    using segment = Segment.create({ file: join(temporaryDirectory(), 'segment') }, counter)
    expect(Segment.list().some(({ name }) => name.includes('segment'))).toBe(false)
    expect(segment.isClosed).toBe(false)
  })

  it('is found through a directory that is a symbolic link, or moved with its directory', () => {
    const directory = join(temporaryDirectory(), 'a')
    mkdirSync(directory)
    using segment = Segment.create({ file: join(directory, 'segment') }, counter)
    segment.root.count.value = 1
    rmSync(join(directory, 'segment'))
    // After another program has removed the file, the attachment goes on, and the name is free.
    expect(segment.root.count.value).toBe(1)
    using next = Segment.openOrCreate({ file: join(directory, 'segment') }, counter)
    expect(next.root.count.value).toBe(0)
  })
})

describe('Segment.createAnonymous()', () => {
  it('has no name; other attachments find it by its handle', () => {
    const namesBefore = takenNames()
    using segment = Segment.createAnonymous(counter)
    using other = Segment.attach(segment.handle, counter)
    segment.root.count.value = 8
    expect(other.root.count.value).toBe(8)
    expect(other.peers.list()).toHaveLength(2)
    expect(takenNames()).toEqual(namesBefore)
  })

  it('cannot be truncated or extended, so no access ever faults', async () => {
    const { path } = Segment.createAnonymous(counter).handle
    const failures = await inChild(async (kit) => {
      const { Segment, struct, u32 } = await kit.load()
      const segment = Segment.createAnonymous(struct({ count: u32() }))
      const fd = kit.fs.openSync(segment.handle.path, 'r+')
      const codes = [0, 4096, segment.bytes.byteLength + 1].map(
        (byteLength) => kit.failureOf(() => kit.fs.ftruncateSync(fd, byteLength))?.code,
      )
      segment.bytes.fill(1, 8192)
      return codes
    }, null)
    expect(failures).toEqual(['EPERM', 'EPERM', 'EPERM'])
    expect(path).toMatch(/^\/proc\/self\/fd\/\d+$/)
  })
})

describe('Segment with many peers', () => {
  it(`takes ${MAX_PEERS}, refuses the next one, and goes on as before`, () => {
    const name = uniqueName()
    const segments = [Segment.create(name, counter)]
    while (segments.length < MAX_PEERS) segments.push(Segment.open(name, counter))
    expect(new Set(segments.map(({ peers }) => slotOf(peers.self))).size).toBe(MAX_PEERS)
    const [first] = segments
    const { handle } = first
    for (const attempt of [
      () => Segment.open(name, counter),
      () => Segment.openOrCreate(name, counter),
      () => Segment.attach(handle, counter),
    ]) {
      expect(expectCode('ERR_ISTHMUS_TOO_MANY_PEERS', attempt).message).toContain(String(MAX_PEERS))
    }
    expect([descriptorsOf(pathOf(name)), mappingsOf(pathOf(name))]).toEqual([MAX_PEERS, MAX_PEERS])
    for (const segment of segments) segment.root.count.add(1)
    expect(first.root.count.value).toBe(MAX_PEERS)
    expect(first.peers.list()).toHaveLength(MAX_PEERS)
    expect(first.peers.list().filter(({ isDead }) => isDead)).toEqual([])

    const freed = segments.splice(50, 1)[0]
    const slot = slotOf(freed.peers.self)
    freed.close()
    const next = Segment.open(name, counter)
    expect(slotOf(next.peers.self)).toBe(slot)
    expectCode('ERR_ISTHMUS_TOO_MANY_PEERS', () => Segment.open(name, counter))
    for (const segment of [...segments, next]) segment.close()
    expect([descriptorsOf(pathOf(name)), mappingsOf(pathOf(name))]).toEqual([0, 0])
    using last = Segment.open(name, counter)
    expect(last.root.count.value).toBe(MAX_PEERS)
  })
})
