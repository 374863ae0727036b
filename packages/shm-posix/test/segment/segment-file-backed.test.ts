import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { PeerId } from '@isthmus/sync'
import { BOOT_ID_WORD, CHECKSUM_WORD, FLUSHED_WORD } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { currentBootId } from '../../src/segment/boot-id.js'
import { Child, endAllChildren, inChild } from '../support/child.js'
import { counter, ledger } from '../support/ledger.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'
import { descriptorsOf, mappingsOf } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

function newFile(): string {
  return join(temporaryDirectory(), 'segment.isthmus')
}

/** Makes a file look as after a restart of the machine. */
function reboot(file: string): void {
  writeWords(file, BOOT_ID_WORD, [1, 2, 3, 4])
}

function writeWords(file: string, word: number, values: number[]): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, Int32Array.from(values), 0, values.length * 4, word * 4)
  closeSync(fd)
}

function wordsOf(file: string): Int32Array {
  return new Int32Array(new Uint8Array(readFileSync(file)).buffer)
}

/** A process that attaches, takes the role and counts, flushes if it is told to, and is killed. */
async function killedWorker(file: string, steps: { flush: boolean; changeAfter: boolean }): Promise<void> {
  const child = Child.start(
    async (kit, { file, steps, signature }) => {
      const { Segment } = await kit.load()
      const layout = {
        byteLength: 20,
        byteAlignment: 4,
        signature,
        backlog: [[0, 4]] as const,
        initialize() {},
        attach: ({ words }: { words: Int32Array }, byteOffset: number) => ({ words, first: byteOffset / 4 }),
        sweep() {},
      }
      const segment = Segment.openOrCreate({ file }, layout)
      const { words, first } = segment.root
      Atomics.store(words, first, 41)
      Atomics.store(words, first + 2, segment.peers.self)
      if (steps.flush) segment.flush()
      if (steps.changeAfter) Atomics.store(words, first, 42)
      kit.tell('done')
      await kit.hear()
    },
    { file, steps, signature: ledger.signature },
  )
  await child.next()
  await child.kill()
}

const UNCLEAN = 'ERR_ISTHMUS_UNCLEAN'

describe('Segment in a file, without a reboot in between', () => {
  it('survives close and reopen, and needs no flush for it', () => {
    const file = newFile()
    const first = Segment.create({ file }, counter)
    first.root.count.value = 12
    first.close()
    expect([descriptorsOf(file), mappingsOf(file)]).toEqual([0, 0])
    using second = Segment.open({ file }, counter)
    expect(second.root.count.value).toBe(12)
  })

  it('is not called unclean after a process was killed: the memory was not lost', async () => {
    const file = newFile()
    await killedWorker(file, { flush: false, changeAfter: true })
    using segment = Segment.open({ file }, ledger)
    expect(segment.root).toMatchObject({ written: 42, holder: 0, sweeps: 1, recoveries: 0 })
  })

  it('marks what it flushes', () => {
    const file = newFile()
    using segment = Segment.create({ file }, counter)
    const flushes = () => wordsOf(file)[FLUSHED_WORD]
    expect(flushes()).toBe(0)
    segment.flush()
    expect(flushes()).toBe(1)
    const checksum = wordsOf(file)[CHECKSUM_WORD]
    segment.root.count.value = 1
    segment.flush()
    expect(flushes()).toBe(2)
    expect(wordsOf(file)[CHECKSUM_WORD]).not.toBe(checksum)
  })

  it('is flushed by the last peer that closes it, and by no other', () => {
    const file = newFile()
    const [one, other] = [Segment.create({ file }, counter), Segment.open({ file }, counter)]
    one.close()
    expect(wordsOf(file)[FLUSHED_WORD]).toBe(0)
    other.close()
    expect(wordsOf(file)[FLUSHED_WORD]).toBe(1)
  })

  it('is flushed by the last peer that closes it also if another one was killed', async () => {
    const file = newFile()
    const segment = Segment.create({ file }, ledger)
    await killedWorker(file, { flush: false, changeAfter: true })
    segment.close()
    expect(wordsOf(file)[FLUSHED_WORD]).toBe(1)
  })

  it('flushes through an attachment by handle as well', () => {
    const file = newFile()
    using segment = Segment.create({ file }, counter)
    expect(segment.handle.isFile).toBe(true)
    using attached = Segment.attach(segment.handle, counter)
    attached.flush()
    expect(wordsOf(file)[FLUSHED_WORD]).toBe(1)
  })
})

describe('Segment.flush() in memory', () => {
  it('does nothing', () => {
    using segment = Segment.createAnonymous(counter)
    segment.flush()
    expect(segment.words[FLUSHED_WORD]).toBe(0)
  })
})

describe('Segment in a file, opened first after a reboot,', () => {
  it('is clean after close', () => {
    const file = newFile()
    const before = Segment.create({ file }, ledger)
    before.root.written = 5
    before.close()
    reboot(file)
    using segment = Segment.open({ file }, ledger)
    expect(segment.root).toMatchObject({ written: 5, recoveries: 0 })
    const bootId = Buffer.from(segment.bytes.subarray(BOOT_ID_WORD * 4, BOOT_ID_WORD * 4 + 16)).toString('hex')
    expect(bootId).toBe(currentBootId())
  })

  it('is clean after a flush without a close, and what its dead peer held is swept', async () => {
    const file = newFile()
    await killedWorker(file, { flush: true, changeAfter: false })
    reboot(file)
    using segment = Segment.open({ file }, ledger)
    expect(segment.root).toMatchObject({ written: 41, holder: 0, sweeps: 1, recoveries: 0 })
    expect(segment.peers.list()).toHaveLength(1)
  })

  it.each([
    ['a change after the flush', { flush: true, changeAfter: true }, 42],
    ['no flush at all', { flush: false, changeAfter: false }, 41],
  ])('is unclean after %s, and recovered on request', async (_, steps, written) => {
    const file = newFile()
    await killedWorker(file, steps)
    reboot(file)
    const rebooted = readFileSync(file)
    const attempts: (() => unknown)[] = [
      () => Segment.open({ file }, ledger),
      () => Segment.openOrCreate({ file }, ledger),
      () => Segment.open({ file }, ledger, { recover: false }),
    ]
    for (const attempt of attempts) expect(expectCode(UNCLEAN, attempt).message).toContain('{ recover: true }')
    // However often it was refused, it is unchanged.
    expect(readFileSync(file).equals(rebooted)).toBe(true)
    expect([descriptorsOf(file), mappingsOf(file)]).toEqual([0, 0])

    const segment = Segment.open({ file }, ledger, { recover: true })
    expect(segment.root).toMatchObject({ written, holder: 0, sweeps: 1, recoveries: 1 })
    expect(segment.peers.list()).toHaveLength(1)
    // It is recovered once: now it contains the id of this boot.
    using other = Segment.open({ file }, ledger)
    expect(other.root.recoveries).toBe(1)
    segment.close()
  })

  const LEFT_LIVE = [1, 2, 77, 127]
  /** As four dead peers left it: one of them had the role, and one was being swept. */
  function leaveDead(segment: Segment<{ holder: number }>): void {
    for (const slot of LEFT_LIVE) segment.words[(128 + slot * 64) / 4] = (9 << 3) | (slot === 77 ? 2 : 1)
    segment.root.holder = (9 << 7) | 127
  }

  it('counts all its peers as dead, however many there were', () => {
    const file = newFile()
    const before = Segment.create({ file }, ledger)
    leaveDead(before)
    before.close()
    reboot(file)
    using segment = Segment.open({ file }, ledger)
    const dead = segment.peers.list().filter(({ peer }) => peer !== segment.peers.self)
    expect(dead.filter(({ isDead }) => !isDead)).toEqual([])
    expect(segment.peers.isDead(((9 << 7) | 127) as PeerId)).toBe(true)
  })

  it('has every slot swept when it is recovered', () => {
    const file = newFile()
    const before = Segment.create({ file }, ledger)
    leaveDead(before)
    before.close()
    writeWords(file, FLUSHED_WORD, [0])
    reboot(file)
    using segment = Segment.open({ file }, ledger, { recover: true })
    expect(segment.root).toMatchObject({ holder: 0, sweeps: 1, recoveries: 1 })
    expect(segment.peers.list()).toHaveLength(1)
    for (const slot of LEFT_LIVE) expect(segment.words[(128 + slot * 64) / 4]).toBe(9 << 3)
  })

  it('can be removed without being recovered', () => {
    const file = newFile()
    const before = Segment.create({ file }, ledger)
    before.flush()
    before.root.written = 9
    const copy = readFileSync(file)
    before.close()
    // The state before the close, as it is on the disk after a power failure.
    const fd = openSync(file, 'r+')
    writeSync(fd, copy)
    closeSync(fd)
    reboot(file)
    expectCode(UNCLEAN, () => Segment.open({ file }, ledger))
    Segment.unlink({ file })
    Segment.create({ file }, ledger).close()
  })

  it('does not trust a checksum without a flush', () => {
    const file = newFile()
    Segment.create({ file }, counter).close()
    writeWords(file, FLUSHED_WORD, [0])
    reboot(file)
    expectCode(UNCLEAN, () => Segment.open({ file }, counter))
  })

  it('is still clean for the next peer if the first one was killed while it swept', async () => {
    const file = newFile()
    await killedWorker(file, { flush: true, changeAfter: false })
    reboot(file)
    const died = inChild(
      async (kit, { file, signature }) => {
        const { Segment } = await kit.load()
        const layout = {
          byteLength: 20,
          byteAlignment: 4,
          signature,
          backlog: [[0, 4]] as const,
          initialize() {},
          attach: () => undefined,
          sweep({ words }: { words: Int32Array }, byteOffset: number) {
            Atomics.store(words, byteOffset / 4 + 2, 0)
            process.kill(process.pid, 'SIGKILL')
          },
        }
        Segment.open({ file }, layout)
      },
      { file, signature: ledger.signature },
    )
    await expect(died).rejects.toThrow(/SIGKILL/)
    using segment = Segment.open({ file }, ledger)
    expect(segment.root).toMatchObject({ written: 41, holder: 0, recoveries: 0 })
  })
})
