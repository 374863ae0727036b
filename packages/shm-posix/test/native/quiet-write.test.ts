import { closeSync, constants, openSync, readSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { libc } from '../../src/native/libc.js'
import { writeQuietly, writeWithSignalBlocked } from '../../src/native/quiet-write.js'
import { Child, endAllChildren } from '../support/child.js'
import { removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'

const { EAGAIN, EPIPE } = osConstants.errno
const descriptors: number[] = []

afterEach(async () => {
  for (const fd of descriptors.splice(0)) closeSync(fd)
  await endAllChildren()
  removeEverything()
})

function openFifo(): { path: string; reader: number; writer: number } {
  const path = join(temporaryDirectory(), 'fifo')
  expect(libc().mkfifo(path, 0o600)).toBe(0)
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  descriptors.push(writer)
  return { path, reader, writer }
}

describe.each([
  ['writeQuietly()', writeQuietly],
  ['writeWithSignalBlocked()', writeWithSignalBlocked],
])('%s', (_, writeBytes) => {
  const bytes = Uint8Array.of(1, 2, 3, 4)
  const write = (fd: number) => writeBytes(fd, bytes)

  it('writes its bytes, and says if the FIFO is full, or if it has no reader', () => {
    const { reader, writer } = openFifo()
    expect(write(writer)).toBe(0)
    expect(writeBytes(writer, Uint8Array.of(9))).toBe(0)
    const read = new Uint8Array(8)
    expect([readSync(reader, read), [...read]]).toEqual([5, [1, 2, 3, 4, 9, 0, 0, 0]])
    let written = 0
    let errno = 0
    for (; errno === 0; written++) errno = write(writer)
    expect([errno, written > 1000]).toEqual([EAGAIN, true])
    closeSync(reader)
    expect([write(writer), write(writer)]).toEqual([EPIPE, EPIPE])
  })

  it('leaves the signal mask of the thread as it was', () => {
    const signalsOf = () => ['SigBlk', 'SigPnd'].map((field) => statusOfThread(field))
    const before = signalsOf()
    const { reader, writer } = openFifo()
    write(writer)
    closeSync(reader)
    write(writer)
    expect(signalsOf()).toEqual(before)
  })
})

function statusOfThread(field: string): string {
  const fd = openSync('/proc/thread-self/status', 'r')
  const text = Buffer.alloc(8192)
  const length = readSync(fd, text)
  closeSync(fd)
  return text.toString('latin1', 0, length).match(new RegExp(`^${field}:\\s*(\\w+)`, 'm'))?.[1] ?? ''
}

describe('A program that has listened to SIGPIPE and stopped', () => {
  it('survives waking an event loop that was killed', async () => {
    const name = uniqueName()
    const peer = Child.start(async (kit, name) => {
      const { Segment, mutex } = await kit.load()
      const segment = Segment.openOrCreate(name, mutex())
      kit.tell('attached')
      await kit.hear()
      const guard = segment.root.lock()
      kit.tell('waits')
      ;(await guard)?.unlock()
      return kit.hear()
    }, name)
    await peer.next()
    const waker = Child.start(async (kit, name) => {
      const { Segment, mutex } = await kit.load()
      const stop = () => {}
      process.on('SIGPIPE', stop)
      process.off('SIGPIPE', stop)
      const segment = Segment.open(name, mutex())
      const guard = segment.root.lockSync()
      kit.tell('locked')
      await kit.hear()
      // From here on the peer's wake FIFO is open.
      guard?.unlock()
      kit.tell('woken')
      await kit.hear()
      const { waiter, peers } = segment
      const other = peers.list().find(({ peer }) => peer !== peers.self)
      return other !== undefined && waiter.wakeLoop(other.peer)
    }, name)
    await waker.next()
    peer.say('lock')
    await peer.next()
    await new Promise((resolve) => setTimeout(resolve, 100))
    waker.say('unlock')
    await waker.next()
    await peer.kill()
    waker.say('wake')
    expect(await waker.result).toBe(false)
  })
})
