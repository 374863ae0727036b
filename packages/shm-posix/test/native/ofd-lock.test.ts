import { closeSync, constants, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { OfdLiveness } from '../../src/liveness/ofd-liveness.js'
import { isLockedByAnother, tryLock, unlock } from '../../src/native/ofd-lock.js'
import { SystemCallError } from '../../src/native/system-error.js'
import { Child, endAllChildren } from '../support/child.js'
import { pathOf, removeEverything, uniqueName } from '../support/names.js'

const descriptors = new Set<number>()

afterEach(async () => {
  for (const fd of descriptors) closeSync(fd)
  descriptors.clear()
  await endAllChildren()
  removeEverything()
})

function newFile(): string {
  const path = pathOf(uniqueName())
  writeFileSync(path, 'x')
  return path
}

function open(path: string, flags = constants.O_RDWR): number {
  const fd = openSync(path, flags)
  descriptors.add(fd)
  return fd
}

function close(fd: number): void {
  descriptors.delete(fd)
  closeSync(fd)
}

describe('tryLock(), unlock() and isLockedByAnother()', () => {
  it('keep two descriptors of one process apart', () => {
    const path = newFile()
    const [one, other] = [open(path), open(path)]
    expect(tryLock(one, 5)).toBe(true)
    expect(tryLock(other, 5)).toBe(false)
    expect(isLockedByAnother(other, 5)).toBe(true)
    unlock(one, 5)
    expect(isLockedByAnother(other, 5)).toBe(false)
    expect(tryLock(other, 5)).toBe(true)
    expect(tryLock(one, 5)).toBe(false)
  })

  it('show a descriptor its own lock as free, and let it take the lock again', () => {
    const fd = open(newFile())
    expect(tryLock(fd, 0)).toBe(true)
    expect(isLockedByAnother(fd, 0)).toBe(false)
    expect(tryLock(fd, 0)).toBe(true)
  })

  it('keep the bytes apart', () => {
    const path = newFile()
    const [one, other] = [open(path), open(path)]
    for (let byte = 0; byte < 130; byte += 2) expect(tryLock(one, byte)).toBe(true)
    for (let byte = 0; byte < 130; byte++) expect(tryLock(other, byte)).toBe(byte % 2 === 1)
    for (let byte = 0; byte < 130; byte++) expect(isLockedByAnother(one, byte)).toBe(byte % 2 === 1)
  })

  it('lose no lock when another descriptor of the same file is closed, as classic locks would', () => {
    const path = newFile()
    const [one, other] = [open(path), open(path)]
    tryLock(one, 1)
    close(open(path))
    expect(tryLock(other, 1)).toBe(false)
  })

  it('free the locks with their descriptor', () => {
    const path = newFile()
    const [one, other] = [open(path), open(path)]
    tryLock(one, 1)
    close(one)
    expect(tryLock(other, 1)).toBe(true)
  })

  it('see the same locks through a descriptor that was opened below /proc', () => {
    const fd = open(newFile())
    const again = open(`/proc/self/fd/${fd}`)
    tryLock(fd, 1)
    expect(isLockedByAnother(again, 1)).toBe(true)
    expect(tryLock(again, 1)).toBe(false)
  })

  it('lock single bytes from 2 ** 40 on, as the format says, and change nothing in the file', () => {
    const path = newFile()
    const fd = open(path)
    tryLock(fd, 3)
    tryLock(fd, 128)
    const { ino } = fstatSync(fd)
    const ranges = readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .filter((line) => line.includes(`:${ino} `))
      .map((line) => line.trim().split(/\s+/))
    expect(ranges.map((words) => [words[1], words[3], ...words.slice(6)])).toEqual(
      expect.arrayContaining([
        ['OFDLCK', 'WRITE', String(2 ** 40 + 3), String(2 ** 40 + 3)],
        ['OFDLCK', 'WRITE', String(2 ** 40 + 128), String(2 ** 40 + 128)],
      ]),
    )
    expect(ranges).toHaveLength(2)
    expect(readFileSync(path, 'utf8')).toBe('x')
  })

  it('keep the locks while their process is stopped, and free them when it is killed', async () => {
    const path = newFile()
    const child = Child.start(async (kit, path) => {
      const { struct, u32, Segment } = await kit.load()
      kit.fs.rmSync(path)
      const segment = Segment.create(path.slice('/dev/shm'.length), struct({ count: u32() }))
      kit.tell('attached')
      await kit.hear()
      segment.close()
    }, path)
    await child.next()
    const fd = open(path)
    process.kill(child.pid, 'SIGSTOP')
    expect(isLockedByAnother(fd, 0)).toBe(true)
    expect(tryLock(fd, 0)).toBe(false)
    await child.kill()
    expect(isLockedByAnother(fd, 0)).toBe(false)
    expect(tryLock(fd, 0)).toBe(true)
  })

  it('report an error that is no conflict', () => {
    for (const attempt of [tryLock, unlock, isLockedByAnother]) {
      expect(() => attempt(123456, 0)).toThrow(SystemCallError)
      expect(() => attempt(123456, 0)).toThrow(expect.objectContaining({ code: 'EBADF', syscall: 'fcntl' }))
    }
    const readOnly = open(newFile(), constants.O_RDONLY)
    expect(() => tryLock(readOnly, 0)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(isLockedByAnother(readOnly, 0)).toBe(false)
  })
})

describe('OfdLiveness', () => {
  it('holds a slot as long as its descriptor does', () => {
    const path = newFile()
    const fd = open(path)
    const [one, other] = [new OfdLiveness(fd), new OfdLiveness(open(path))]
    expect(one.tryAcquire(7)).toBe(true)
    expect([one.isHeldByAnother(7), other.isHeldByAnother(7), other.tryAcquire(7)]).toEqual([false, true, false])
    one.release(7)
    expect(other.tryAcquire(7)).toBe(true)
    other.release(7)
    one.tryAcquire(7)
    close(fd)
    expect(other.isHeldByAnother(7)).toBe(false)
  })
})
