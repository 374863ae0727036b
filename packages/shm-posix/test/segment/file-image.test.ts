import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import zlib from 'node:zlib'
import { type Layout, struct, u32 } from '@isthmus/sync'
import { BOOT_ID_WORD, CHECKSUM_WORD, FLUSH_NUMBER_WORD, FLUSHED_WORD } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { counter } from '../support/ledger.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'

/** Reading a large file for its checksum takes long, and must not keep other peers out. */

const { crc32 } = zlib

afterEach(() => {
  zlib.crc32 = crc32
  removeEverything()
})

/** Runs the action during the next checksums, this many times. */
function duringChecksums(times: number, action: () => void): void {
  let left = times
  zlib.crc32 = (...given) => {
    const checksum = crc32(...given)
    // Checksums that the action itself causes are not interrupted.
    if (left > 0) {
      const restLeft = left - 1
      left = 0
      action()
      left = restLeft
    }
    return checksum
  }
}

function newFile(): { file: string } {
  return { file: join(temporaryDirectory(), 'segment') }
}

function reboot({ file }: { file: string }): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, new Uint8Array(16).fill(7), 0, 16, BOOT_ID_WORD * 4)
  closeSync(fd)
}

function wordsOf({ file }: { file: string }): Int32Array {
  return new Int32Array(new Uint8Array(readFileSync(file)).buffer)
}

const AT_ONCE = { lockTimeoutMs: 0 }

describe('The last peer that closes a file', () => {
  it('keeps no peer out while it reads the file, and reads it again if a peer was there', () => {
    const where = newFile()
    const segment = Segment.create(where, counter)
    duringChecksums(1, () => {
      const visitor = Segment.open(where, counter, AT_ONCE)
      visitor.root.count.value = 7
      visitor.close()
    })
    segment.close()
    reboot(where)
    using again = Segment.open(where, counter)
    expect(again.root.count.value).toBe(7)
  })

  it('is not the last one if a peer stays', () => {
    const where = newFile()
    const segment = Segment.create(where, counter)
    let guest: Segment<unknown> | undefined
    duringChecksums(1, () => {
      guest = Segment.open(where, counter, AT_ONCE)
    })
    segment.close()
    expect(wordsOf(where)[FLUSHED_WORD]).toBe(0)
    guest?.close()
    expect(wordsOf(where)[FLUSHED_WORD]).not.toBe(0)
  })

  it('finishes although visitors come and go all the time; the last of them is told what it does', () => {
    const where = newFile()
    const segment = Segment.create(where, counter)
    const codes: unknown[] = []
    let visits = 0
    duringChecksums(100, () => {
      visits++
      try {
        const visitor = Segment.open(where, counter, AT_ONCE)
        visitor.root.count.value = visits
        visitor.close()
      } catch (error) {
        codes.push((error as Error).message)
      }
    })
    segment.close()
    zlib.crc32 = crc32
    expect(codes).toEqual([expect.stringMatching(/is being flushed by process/)])
    reboot(where)
    using again = Segment.open(where, counter)
    expect(again.root.count.value).toBe(visits - 1)
  })
})

describe('Segment.flush()', () => {
  it('leaves the checksum of the flush that began later, of two at once', () => {
    const where = newFile()
    using segment = Segment.create(where, counter)
    using other = Segment.open(where, counter)
    duringChecksums(1, () => {
      other.root.count.value = 5
      other.flush()
    })
    segment.flush()
    expect([segment.words[FLUSH_NUMBER_WORD], segment.words[FLUSHED_WORD]]).toEqual([2, 2])
    const checksum = segment.words[CHECKSUM_WORD]
    // Nothing was changed after the later of the two.
    other.flush()
    expect(segment.words[CHECKSUM_WORD]).toBe(checksum)
  })

  it('counts beyond 32 bits, and leaves out 0, which means "never"', () => {
    const where = newFile()
    using segment = Segment.create(where, counter)
    segment.flush()
    segment.words[FLUSH_NUMBER_WORD] = -2
    segment.words[FLUSHED_WORD] = -2
    const flushed = [1, 2, 3].map((count) => {
      segment.root.count.value = count
      segment.flush()
      return segment.words[FLUSHED_WORD]
    })
    expect(flushed).toEqual([-1, 1, 2])
  })
})

describe('The first peer that opens a file after a restart', () => {
  it('keeps no peer out while it reads the file: a faster one recovers it', () => {
    const where = newFile()
    Segment.create(where, counter).close()
    reboot(where)
    let guest: Segment<{ count: { value: number } }> | undefined
    duringChecksums(1, () => {
      guest = Segment.open(where, counter, AT_ONCE)
      guest.root.count.value = 3
    })
    using segment = Segment.open(where, counter, AT_ONCE)
    expect(segment.root.count.value).toBe(3)
    guest?.close()
  })

  it('does not trust what it has read if a peer has come and gone meanwhile', () => {
    const where = newFile()
    let recoveries = 0
    const layout: Layout<{ count: { value: number } }> = {
      ...struct({ count: u32() }),
      recover: () => void recoveries++,
    }
    Segment.create(where, layout).close()
    reboot(where)
    duringChecksums(1, () => {
      const visitor = Segment.open(where, layout, AT_ONCE)
      visitor.root.count.value = 3
      visitor.close()
      // Another restart: the visitor has flushed its change, as the last peer.
      reboot(where)
    })
    using segment = Segment.open(where, layout, AT_ONCE)
    expect([segment.root.count.value, recoveries]).toEqual([3, 0])
  })

  it('tells waiters that it recovers the file', () => {
    const where = newFile()
    const messages: string[] = []
    const layout = {
      ...counter,
      recover() {
        messages.push(expectCode('ERR_ISTHMUS_BUSY', () => Segment.open(where, counter, AT_ONCE)).message)
      },
    }
    Segment.create(where, layout).close()
    const fd = openSync(where.file, 'r+')
    writeSync(fd, new Int32Array([0]), 0, 4, FLUSHED_WORD * 4)
    closeSync(fd)
    reboot(where)
    Segment.open(where, layout, { recover: true }).close()
    expect(messages).toEqual([expect.stringMatching(/is being recovered after a restart of the machine by process/)])
  })
})
