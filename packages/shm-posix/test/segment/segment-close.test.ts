import { closeSync, openSync, readSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment, type SegmentHandle } from '../../src/index.js'
import { endAllChildren, inChild } from '../support/child.js'
import { counter, ledger } from '../support/ledger.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'
import { descriptorsOf, mappingsOf } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

describe('Segment.close()', () => {
  it.each(['overlay', 'view'] as const)('gives mapping, descriptor and slot back at once, %s', (mapper) => {
    const name = uniqueName()
    using observer = Segment.create(name, counter)
    const segment = Segment.open(name, counter, { mapper })
    const { words, bytes } = segment
    const { self } = segment.peers
    segment.root.count.value = 6
    segment.close()
    expect(segment.isClosed).toBe(true)
    expect([mappingsOf(pathOf(name)), descriptorsOf(pathOf(name))]).toEqual([1, 1])
    expect(observer.peers.isDead(self)).toBe(true)
    expect(observer.peers.list()).toHaveLength(1)
    expect(observer.root.count.value).toBe(6)
    expect(words.every((word) => word === 0) && bytes.every((byte) => byte === 0)).toBe(true)
    bytes.fill(255)
    Atomics.add(words, 2100, 1)
    expect(observer.root.count.value).toBe(6)
  })

  it('does nothing the second time, in any order of its three names', () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    segment.close()
    // The number of its descriptor may be given out again by now.
    const innocent = openSync('/proc/self/stat', 'r')
    segment.close()
    segment[Symbol.dispose]()
    expect(readSync(innocent, new Uint8Array(4))).toBe(4)
    closeSync(innocent)
  })

  it('is what `using` does', () => {
    let kept: Segment<unknown>
    {
      using segment = Segment.createAnonymous(counter)
      kept = segment
      expect(kept.isClosed).toBe(false)
    }
    expect(kept.isClosed).toBe(true)
  })

  it('calls its listeners once, while the memory is still there', () => {
    const segment = Segment.createAnonymous(counter)
    const seen: unknown[] = []
    segment.onClose(() => seen.push(segment.root.count.value, segment.isClosed))
    const forget = segment.onClose(() => seen.push('forgotten'))
    forget()
    segment.root.count.value = 3
    segment.close()
    segment.close()
    expect(seen).toEqual([3, false])
  })

  it('gives everything back if a listener throws', () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    segment.onClose(() => {
      throw new Error('of a listener')
    })
    expect(() => segment.close()).toThrow('of a listener')
    expect(segment.isClosed).toBe(true)
    expect([mappingsOf(pathOf(name)), descriptorsOf(pathOf(name))]).toEqual([0, 0])
    segment.close()
  })

  it('leaves other attachments of the same thread alone', () => {
    const name = uniqueName()
    const one = Segment.create(name, counter)
    using other = Segment.open(name, counter)
    one.close()
    other.root.count.value = 5
    using third = Segment.open(name, counter)
    expect(third.root.count.value).toBe(5)
    expect(third.peers.isDead(other.peers.self)).toBe(false)
  })
})

describe('Segment after close', () => {
  it.each<[string, (segment: Segment<unknown>) => unknown]>([
    ['root', ({ root }) => root],
    ['handle', ({ handle }) => handle],
    ['buffer', ({ buffer }) => buffer],
    ['flush()', (segment) => segment.flush()],
    ['peers.self', ({ peers }) => peers.self],
  ])('throws from %s', (_, use) => {
    for (const segment of [Segment.create(uniqueName(), counter), Segment.createAnonymous(counter)]) {
      expect(() => use(segment)).not.toThrow()
      segment.close()
      expectCode('ERR_ISTHMUS_CLOSED', () => use(segment))
      expectCode('ERR_ISTHMUS_CLOSED', () => use(segment))
    }
  })

  it('throws from the objects of its root', () => {
    const segment = Segment.createAnonymous(counter)
    const { count } = segment.root
    segment.close()
    expectCode('ERR_ISTHMUS_CLOSED', () => count.value)
    expectCode('ERR_ISTHMUS_CLOSED', () => {
      count.value = 1
    })
  })

  it.each([false, true])('answers nothing wrong about peers, its buffer taken: %s', (isBufferTaken) => {
    const name = uniqueName()
    using other = Segment.create(name, counter)
    const segment = Segment.open(name, counter)
    if (isBufferTaken) expect(segment.buffer.byteLength).toBeGreaterThan(0)
    const { peers } = segment
    segment.close()
    // "No peers" is an answer, and so is ERR_ISTHMUS_CLOSED. An error of the old descriptor is none: its number may be that
    // of another file by now, and then the answer would be wrong.
    const questions = [() => segment.peers.list(), () => peers.list(), () => peers.isDead(other.peers.self)]
    for (const question of questions) {
      try {
        expect([[], true]).toContainEqual(question())
      } catch (error) {
        if (error instanceof Error && 'code' in error) expect(error).toMatchObject({ code: 'ERR_ISTHMUS_CLOSED' })
        else throw error
      }
    }
  })
})

describe('Segment.buffer', () => {
  it.each(['overlay', 'view'] as const)('keeps its memory when the segment is closed, %s', (mapper) => {
    const name = uniqueName()
    using other = Segment.create(name, counter)
    const segment = Segment.open(name, counter, { mapper })
    const words = new Int32Array(segment.buffer)
    const at = segment.words.length - 1
    segment.close()
    expect(descriptorsOf(pathOf(name))).toBe(1)
    other.words[at] = 99
    expect(Atomics.load(words, at)).toBe(99)
    words[at] = 98
    expect(other.words[at]).toBe(98)
  })

  it('can be posted to a thread, which works on the same memory after the segment is closed', async () => {
    using other = Segment.createAnonymous(counter)
    const segment = Segment.attach(other.handle, counter)
    const { buffer } = segment
    expect(buffer).toBeInstanceOf(SharedArrayBuffer)
    const program = `
      const { parentPort, workerData } = require('node:worker_threads')
      const words = new Int32Array(workerData)
      parentPort.once('message', () => {
        Atomics.add(words, words.length - 1, 7)
        parentPort.postMessage(words.length)
      })`
    const worker = new Worker(program, { eval: true, execArgv: [], workerData: buffer })
    try {
      segment.close()
      other.words[other.words.length - 1] = 1
      const answer = new Promise((resolve) => worker.once('message', resolve))
      worker.postMessage('go')
      expect(await answer).toBe(other.words.length)
      expect(other.words[other.words.length - 1]).toBe(8)
    } finally {
      await worker.terminate()
    }
  })

  it('is unmapped when it is collected', async () => {
    const seen = await inChild(
      async (kit, name) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const mappings = () => kit.fs.readFileSync('/proc/self/maps', 'utf8').split(`/dev/shm${name}`).length - 1
        // In a function of its own, so that nothing stays on the stack.
        const takeAndClose = (mapper: 'overlay' | 'view'): ArrayBufferLike => {
          const segment = Segment.open(name, layout, { mapper })
          const { buffer } = segment
          segment.close()
          return buffer
        }
        Segment.create(name, layout).close()
        const buffers = (['overlay', 'view'] as const).map(takeAndClose)
        await kit.collectGarbage()
        const before = mappings()
        buffers.length = 0
        await kit.collectGarbage()
        return [before, mappings()]
      },
      uniqueName(),
      { execArgv: ['--expose-gc'] },
    )
    expect(seen).toEqual([2, 0])
  })
})

describe('Segment.handle', () => {
  it('is plain data', () => {
    using segment = Segment.createAnonymous(counter)
    expect(structuredClone(segment.handle)).toEqual(segment.handle)
    expect(segment.handle).toMatchObject({ isthmus: 'segment', pid: process.pid, isFile: false })
  })

  it('attaches after the name is gone, and after another segment has it', () => {
    const name = uniqueName()
    using segment = Segment.create(name, counter)
    const { handle } = segment
    Segment.unlink(name)
    using successor = Segment.create(name, counter)
    using attached = Segment.attach(handle, counter)
    segment.root.count.value = 2
    expect(attached.root.count.value).toBe(2)
    expect(successor.root.count.value).toBe(0)
    using again = Segment.attach(attached.handle, counter)
    expect(again.root.count.value).toBe(2)
  })

  it('of a closed attachment is refused, whatever file has its descriptor now', () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    const { handle } = segment
    segment.close()
    const attempt = () => Segment.attach(handle, counter)
    expect(expectCode('ERR_ISTHMUS_CLOSED', attempt).message).toContain(name)
    for (const path of ['/dev/null', '/proc/self/stat', '/dev/shm', pathOf(name)]) {
      const fd = openSync(path, 'r')
      expect(handle.path).toBe(`/proc/self/fd/${fd}`)
      // The segment's own file, opened again, leads to the same segment.
      if (path === pathOf(name)) attempt().close()
      else expectCode('ERR_ISTHMUS_CLOSED', attempt)
      closeSync(fd)
    }
    using another = Segment.create(uniqueName(), counter)
    expect(another.handle.path).toBe(handle.path)
    expectCode('ERR_ISTHMUS_CLOSED', attempt)
    expect(another.peers.list()).toHaveLength(1)
  })

  it('is refused with another layout', () => {
    using segment = Segment.createAnonymous(counter)
    expectCode('ERR_ISTHMUS_LAYOUT_MISMATCH', () => Segment.attach(segment.handle, ledger))
    expect(segment.peers.list()).toHaveLength(1)
  })

  it('is refused in another process', async () => {
    using segment = Segment.createAnonymous(counter)
    const failure = await inChild(async (kit, handle) => {
      const { Segment, struct, u32 } = await kit.load()
      return kit.failureOf(() => Segment.attach(handle, struct({ count: u32(), other: u32() })))
    }, segment.handle)
    expect(failure).toMatchObject({
      code: 'ERR_ISTHMUS_INVALID_ARGUMENT',
      message: expect.stringMatching(/use its name/),
    })
  })

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a name', '/orders'],
    ['an empty object', {}],
    ["a heap region's handle", { isthmus: 'heap', pid: process.pid }],
  ])('is not %s', (_, handle) => {
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => Segment.attach(handle as SegmentHandle, counter))
  })
})
