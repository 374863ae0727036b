import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { allocate } from '../../src/native/allocation.js'
import { libc } from '../../src/native/libc.js'
import { EINTR } from '../../src/native/system-error.js'

const { posix_fallocate } = libc()
const descriptors: number[] = []
const ENOSPC = 28

afterEach(() => {
  Object.assign(libc(), { posix_fallocate })
  for (const fd of descriptors.splice(0)) closeSync(fd)
})

function newFile(): number {
  const fd = openSync(tmpdir(), constants.O_RDWR | constants.O_DIRECTORY | 0o20000000, 0o600)
  descriptors.push(fd)
  return fd
}

describe('allocate()', () => {
  it('succeeds on a kernel that gives up and undoes each long call at a signal', () => {
    const pieces: number[] = []
    let interruptions = 0
    /** The kernel allocates this much between two signals. */
    const bytesPerSignal = 300_000
    const interrupted = (fd: number, start: number, byteLength: number) => {
      if (byteLength > bytesPerSignal) {
        interruptions++
        return EINTR
      }
      pieces.push(byteLength)
      return posix_fallocate(fd, start, byteLength)
    }
    Object.assign(libc(), { posix_fallocate: interrupted })
    const fd = newFile()
    allocate(fd, 5_000_192, 'it')
    expect(fstatSync(fd)).toMatchObject({ size: 5_000_192 })
    expect(fstatSync(fd).blocks * 512).toBeGreaterThanOrEqual(5_000_192)
    expect(interruptions).toBeLessThan(10)
    expect(Math.max(...pieces)).toBeGreaterThan(bytesPerSignal / 4)
  })

  it('goes on with small pieces if even those are interrupted now and then', () => {
    let calls = 0
    const interrupted = (fd: number, start: number, byteLength: number) =>
      ++calls % 2 === 1 ? EINTR : posix_fallocate(fd, start, byteLength)
    Object.assign(libc(), { posix_fallocate: interrupted })
    const fd = newFile()
    allocate(fd, 1 << 20, 'it')
    expect(fstatSync(fd).size).toBe(1 << 20)
  })

  it('makes one call if nothing interrupts it, and reports its error', () => {
    const lengths: number[] = []
    const full = (_: number, __: number, byteLength: number) => {
      lengths.push(byteLength)
      return ENOSPC
    }
    Object.assign(libc(), { posix_fallocate: full })
    expect(expectCode('ENOSPC', () => allocate(newFile(), 1 << 30, 'it')).message).toMatch(/Make room/)
    expect(lengths).toEqual([1 << 30])
  })
})
