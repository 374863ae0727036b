import { getEventListeners } from 'node:events'
import { type Waitable, waitAny } from '@isthmus/sync'
import { describe, expect, it } from 'vitest'
import { expectCode, expectRejection } from '../../../sync/test/support/expect-code.js'
import { withoutSafetyNet } from '../../../sync/test/support/safety-net.js'
import { sleep, soon, stateOf, turns, until } from '../../../sync/test/support/waiting.js'
import { type Latest, utf8 } from '../../src/index.js'
import { createLatest } from '../support/latest-memory.js'

withoutSafetyNet()

function create() {
  const { cell, attach, memory, region } = createLatest({ byteLength: 8, codec: utf8 })
  return { cell, attach, memory, region, reader: attach().root }
}

const isWaiting = (cell: Latest<string>, count = 1) => until(() => cell.describe().waitingReaders.length === count)

describe('next', () => {
  it.each([0, 1, 20])('is woken by a value that is written after %i ms', async (pauseMs) => {
    const { cell, reader } = create()
    // Taken before: a new writer wakes readers, too.
    const writer = cell.writer()
    const waiting = reader.next()
    await sleep(pauseMs)
    writer.write('one')
    expect(await soon(waiting)).toEqual({ value: 'one', version: 1 })
    expect(cell.describe().waitingReaders).toEqual([])
  })

  it('gives a value that is there at once, unless it is the one that the program has', async () => {
    const { cell, reader } = create()
    const writer = cell.writer()
    writer.write('one')
    expect(await reader.next()).toEqual({ value: 'one', version: 1 })
    expect(await reader.next({ after: 7 })).toEqual({ value: 'one', version: 1 })
    expect(reader.nextSync({ after: 0 })).toEqual({ value: 'one', version: 1 })
    const waiting = reader.next({ after: 1 })
    expect(await stateOf(waiting)).toBe('pending')
    writer.write('two')
    expect(await soon(waiting)).toEqual({ value: 'two', version: 2 })
  })

  it('wakes all that wait, also those that write in place wake', async () => {
    const { cell, attach } = create()
    const writer = cell.writer()
    const readers = Array.from({ length: 3 }, () => attach().root)
    const waits = [...readers, readers[0]].map((reader) => reader.next())
    await isWaiting(cell, 3)
    writer.claim().set(utf8.encode('here'))
    writer.commit(4)
    expect(await soon(Promise.all(waits))).toEqual(Array(4).fill({ value: 'here', version: 1 }))
  })

  it('copies into an array of the program', async () => {
    const { cell, reader } = create()
    const into = new Uint8Array(8)
    const waiting = reader.next({ into })
    await isWaiting(cell)
    cell.writer().write('abc')
    const { value } = await soon(waiting)
    expect(value.buffer).toBe(into.buffer)
    expect(utf8.decode(value)).toBe('abc')
    expect(reader.nextSync({ into }).version).toBe(1)
  })

  it('gives up after its timeout, and leaves nothing behind', async () => {
    const { cell, reader } = create()
    expect(await soon(reader.next({ timeoutMs: 5 }))).toBeUndefined()
    expect(await reader.next({ timeoutMs: 0 })).toBeUndefined()
    expect(reader.nextSync({ timeoutMs: 5 })).toBeUndefined()
    expect(reader.nextSync({ timeoutMs: 0 })).toBeUndefined()
    expect(cell.describe().waitingReaders).toEqual([])
  })

  it('is aborted', async () => {
    const { cell, reader } = create()
    const controller = new AbortController()
    const waiting = reader.next({ signal: controller.signal })
    await isWaiting(cell)
    controller.abort()
    await expectRejection('ABORT_ERR', soon(waiting))
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    cell.writer().write('one')
    await expectRejection('ABORT_ERR', reader.next({ signal: controller.signal }))
  })

  it('rejects if its region is closed', async () => {
    const { cell, attach } = create()
    const region = attach()
    const { root } = region
    const waiting = expectRejection('ERR_ISTHMUS_CLOSED', root.next())
    await isWaiting(cell)
    region.close()
    await soon(waiting)
    await expectRejection('ERR_ISTHMUS_CLOSED', root.next())
    expectCode('ERR_ISTHMUS_CLOSED', () => root.nextSync())
  })

  it.each([-1, 1.5, 2 ** 32, Number.NaN, '1', null])('refuses the version %o', async (after) => {
    const { reader } = create()
    await expectRejection('ERR_ISTHMUS_INVALID_ARGUMENT', reader.next({ after: after as never }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => reader.nextSync({ after: after as never }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => reader.watch({ after: after as never }))
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => reader.newerThan(after as never))
  })

  it('does not block for a writer of its own thread', () => {
    const { reader } = create()
    const writer = reader.writer()
    writer.write('one')
    expect(reader.nextSync()).toEqual({ value: 'one', version: 1 })
    expect(reader.nextSync({ after: 1, timeoutMs: 0 })).toBeUndefined()
    expectCode('EDEADLK', () => reader.nextSync({ after: 1 }))
  })

  it('goes on waiting through the close and the death of writers, and is told by the next one', async () => {
    const { cell, attach, region, reader } = create()
    const waiting = reader.next()
    await isWaiting(cell)
    cell.writer().close()
    const dying = attach()
    dying.root.writer().claim()
    region.declareDead(dying.peers.self)
    expect(await stateOf(waiting)).toBe('pending')
    cell.writer().write('three')
    expect(await soon(waiting)).toEqual({ value: 'three', version: 1 })
  })

  it('learns of a value whose writer died before it woke the readers', async () => {
    const { cell, attach, memory, region, reader } = create()
    const dying = attach()
    const writer = dying.root.writer()
    const waiting = reader.next()
    await isWaiting(cell)
    // As a peer that does not see the sleeper: it is killed between V4 and V5.
    const registrations = memory.words[memory.registrationsIndex]
    memory.words[memory.registrationsIndex] = 0
    writer.write('last')
    memory.words[memory.registrationsIndex] = registrations
    expect(await stateOf(waiting)).toBe('pending')
    const notifications = memory.words[memory.registrationsIndex - 9]
    region.declareDead(dying.peers.self)
    // This thread looks by itself. Other threads are notified by the sweep.
    expect(memory.words[memory.registrationsIndex - 9]).toBe(notifications + 1)
    expect(await soon(waiting)).toEqual({ value: 'last', version: 1 })
  })
})

describe('watch', () => {
  it('begins with the value that is there, and skips those that were replaced', async () => {
    const { cell, reader } = create()
    const writer = cell.writer()
    writer.write('one')
    writer.write('two')
    const seen: string[] = []
    for await (const { value, version } of reader.watch()) {
      seen.push(`${version} ${value}`)
      if (version === 2) for (const text of ['three', 'four', 'five']) writer.write(text)
      else if (version === 5) setTimeout(() => writer.write('six'), 5)
      else break
    }
    expect(seen).toEqual(['2 two', '5 five', '6 six'])
    expect(cell.describe().waitingReaders).toEqual([])
  })

  it('begins after the version that it is given', async () => {
    const { cell, reader } = create()
    const writer = cell.writer()
    writer.write('one')
    const watch = reader.watch({ after: 1 })
    const next = watch.next()
    expect(await stateOf(next)).toBe('pending')
    writer.write('two')
    expect(await soon(next)).toEqual({ done: false, value: { value: 'two', version: 2 } })
    const calls = [watch.next(), watch.next()]
    await turns()
    writer.write('three')
    expect((await soon(calls[0])).value).toEqual({ value: 'three', version: 3 })
    expect(await stateOf(calls[1])).toBe('pending')
    await watch.return()
    expect(await soon(calls[1])).toEqual({ done: true, value: undefined })
    await until(() => cell.describe().waitingReaders.length === 0)
  })

  it('ends with its signal, and with the region', async () => {
    const { cell, attach, reader } = create()
    const controller = new AbortController()
    const watch = reader.watch({ signal: controller.signal })
    const next = watch.next()
    await isWaiting(cell)
    controller.abort()
    await expectRejection('ABORT_ERR', soon(next))
    expect(await watch.next()).toEqual({ done: true, value: undefined })
    const region = attach()
    const other = region.root.watch()
    const waiting = expectRejection('ERR_ISTHMUS_CLOSED', other.next())
    await isWaiting(cell)
    region.close()
    await soon(waiting)
    expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => reader.watch({ signal: {} as never }))
  })

  it('gives the value again if the codec could not decode it', async () => {
    const { cell, reader } = create()
    let fails = true
    const layoutReader = createLatest({
      byteLength: 8,
      codec: {
        name: 'moody',
        encode: utf8.encode,
        decode(bytes: Uint8Array) {
          if (fails) throw new Error('moody')
          return utf8.decode(bytes)
        },
      },
    })
    layoutReader.cell.writer().write('one')
    await expect(layoutReader.cell.watch().next()).rejects.toThrow('moody')
    fails = false
    expect((await layoutReader.cell.watch().next()).value).toEqual({ value: 'one', version: 1 })
    expect(reader.version).toBe(cell.version)
  })
})

describe('waitAny', () => {
  it('waits for a newer value of one of several', async () => {
    const [first, second] = [create(), create()]
    const waitables = new Map<Waitable, string>([
      [first.reader.newerThan(0), 'first'],
      [second.reader.newerThan(0), 'second'],
    ])
    const names = async (options = {}) =>
      (await soon(waitAny(waitables.keys(), options))).map((one) => waitables.get(one))
    expect(await names({ timeoutMs: 1 })).toEqual([])
    const waiting = names()
    await isWaiting(first.cell)
    second.cell.writer().write('one')
    expect(await waiting).toEqual(['second'])
    first.cell.writer().write('one')
    expect(await names()).toEqual(['first', 'second'])
    expect(await soon(waitAny([second.reader.newerThan(1)], { timeoutMs: 1 }))).toEqual([])
  })
})

describe('A writer', () => {
  it('makes no notification if no reader sleeps', () => {
    const { cell, memory, reader } = create()
    const writer = cell.writer()
    const before = [...memory.words.subarray(memory.registrationsIndex - 9, memory.registrationsIndex + 1)]
    for (let time = 0; time < 10; time++) writer.write('quick')
    expect(reader.read()?.version).toBe(10)
    expect([...memory.words.subarray(memory.registrationsIndex - 9, memory.registrationsIndex + 1)]).toEqual(before)
  })

  it('has written a value whose readers it could not wake', async () => {
    const { cell, reader, region } = create()
    const writer = cell.writer()
    const waiting = reader.next()
    await isWaiting(cell)
    const { wakeLoop } = region.waiter
    let failures = 0
    region.waiter.wakeLoop = () => {
      failures++
      region.waiter.wakeLoop = wakeLoop
      throw new RangeError('Maximum call stack size exceeded')
    }
    expect(writer.write('one')).toBe(1)
    expect(failures).toBe(1)
    expect(await soon(waiting)).toEqual({ value: 'one', version: 1 })
  })
})
