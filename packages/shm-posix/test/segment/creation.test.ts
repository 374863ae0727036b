import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { isLockedByAnother } from '../../src/native/ofd-lock.js'
import { assertLocksWork, openTemporary, openUnnamed, type UnnamedFile } from '../../src/segment/creation.js'
import { HEADER_LOCK_BYTE } from '../../src/segment/header-lock.js'
import { type Location, locate } from '../../src/segment/location.js'
import { openExisting } from '../../src/segment/segment-file.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'

const descriptors: number[] = []

afterEach(() => {
  for (const fd of descriptors.splice(0)) closeSync(fd)
  removeEverything()
})

function newLocation(): Location {
  return locate({ file: join(temporaryDirectory(), 'segment') })
}

function kept(file: UnnamedFile): UnnamedFile {
  descriptors.push(file.fd)
  return file
}

describe.each([
  ['openUnnamed()', openUnnamed],
  ['openTemporary()', openTemporary],
])('%s', (_, open) => {
  it('makes a file that has no name until it is published, and one name from then on', () => {
    const location = newLocation()
    const file = kept(open(location, 0o600))
    writeSync(file.fd, 'whole')
    expect(existsSync(location.path)).toBe(false)
    file.publish()
    expect(readdirSync(location.directory)).toEqual(['segment'])
    expect(statSync(location.path).ino).toBe(fstatSync(file.fd).ino)
    expect(fstatSync(file.fd).nlink).toBe(1)
  })

  it('leaves a file that has the name already, and is gone after it was discarded', () => {
    const location = newLocation()
    writeFileSync(location.path, 'precious')
    const { ino } = statSync(location.path)
    const file = kept(open(location, 0o600))
    const error = expectCode('EEXIST', () => file.publish())
    expect(error).toMatchObject({ syscall: 'link', path: location.path, name: 'SystemCallError' })
    file.discard()
    expect(readdirSync(location.directory)).toEqual(['segment'])
    expect(statSync(location.path)).toMatchObject({ ino, nlink: 1 })
  })

  it('lets one of two have the name', () => {
    const location = newLocation()
    const files = [kept(open(location, 0o600)), kept(open(location, 0o600))]
    files[1].publish()
    expectCode('EEXIST', () => files[0].publish())
    files[0].discard()
    expect(readdirSync(location.directory)).toEqual(['segment'])
    expect(statSync(location.path).ino).toBe(fstatSync(files[1].fd).ino)
  })

  it('is discarded without a trace', () => {
    const location = newLocation()
    kept(open(location, 0o600)).discard()
    expect(readdirSync(location.directory)).toEqual([])
  })

  it('says which directory does not exist', () => {
    const location = locate({ file: join(temporaryDirectory(), 'missing', 'segment') })
    const error = expectCode('ENOENT', () => open(location, 0o600))
    expect(error).toMatchObject({ name: 'SystemCallError' })
    expect(error.message).toContain(`there is no directory ${location.directory}`)
  })

  it('reports a name that cannot be given', () => {
    const location = { ...newLocation(), path: join(temporaryDirectory(), 'missing', 'segment') }
    const file = kept(open(location, 0o600))
    expectCode('ENOENT', () => file.publish())
    file.discard()
    expect(readdirSync(location.directory)).toEqual([])
  })
})

describe('openUnnamed()', () => {
  it('makes a file without any name, which vanishes with its creator', () => {
    const location = newLocation()
    const { fd } = kept(openUnnamed(location, 0o600))
    expect(fstatSync(fd).nlink).toBe(0)
    expect(readdirSync(location.directory)).toEqual([])
  })
})

describe('openTemporary()', () => {
  it('makes a file under a name that no segment can have, locked while its creator lives', () => {
    const location = newLocation()
    const { fd } = kept(openTemporary(location, 0o600))
    const path = readlinkSync(`/proc/self/fd/${fd}`)
    expect(dirname(path)).toBe(location.directory)
    expect(path).toMatch(/\/\.isthmus-[0-9a-f]{16}\.unfinished$/)
    const other = openExisting({ ...location, path })
    descriptors.push(other)
    expect(isLockedByAnother(other, HEADER_LOCK_BYTE)).toBe(true)
  })

  it('frees the lock when it is published, so that others can attach', () => {
    const location = newLocation()
    const file = kept(openTemporary(location, 0o600))
    file.publish()
    const other = openExisting(location)
    descriptors.push(other)
    expect(isLockedByAnother(other, HEADER_LOCK_BYTE)).toBe(false)
  })
})

describe('assertLocksWork()', () => {
  it('accepts memory and disk here, and leaves no lock', () => {
    for (const location of [newLocation(), locate('/isthmus-never-published')]) {
      const { fd } = kept(openUnnamed(location, 0o600))
      // A new device number, since it tries the locks only once for each.
      assertLocksWork(fd, -fstatSync(fd).dev - 1, 'it')
      const other = openSync(`/proc/self/fd/${fd}`, 'r+')
      descriptors.push(other)
      for (let byte = 0; byte < 256; byte++) expect(isLockedByAnother(other, byte)).toBe(false)
    }
  })
})
