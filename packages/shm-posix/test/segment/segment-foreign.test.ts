import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment, type SegmentFile } from '../../src/index.js'
import { counter } from '../support/ledger.js'
import { NAME_PREFIX, pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

const servers: Server[] = []

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
  removeEverything()
})

/** A file that another program may have put there, and how to read it. */
interface Foreigner {
  make(path: string): unknown
  read(path: string): unknown
}

const FOREIGNERS: [string, Foreigner][] = [
  ['a text file', { make: (path) => writeFileSync(path, 'precious'), read: (path) => readFileSync(path, 'utf8') }],
  ['an empty file', { make: (path) => writeFileSync(path, ''), read: (path) => readFileSync(path, 'utf8') }],
  [
    'a file that begins like ours',
    { make: (path) => writeFileSync(path, `ISTHMUS!${'x'.repeat(9000)}`), read: (path) => readFileSync(path, 'utf8') },
  ],
  [
    'a large file of zeros',
    { make: (path) => writeFileSync(path, Buffer.alloc(12288)), read: (path) => readFileSync(path) },
  ],
  ['a directory', { make: (path) => mkdirSync(path), read: (path) => lstatSync(path).isDirectory() }],
  [
    'a symbolic link to a segment',
    {
      make(path) {
        const target = uniqueName()
        Segment.create(target, counter).close()
        symlinkSync(pathOf(target), path)
      },
      read: (path) => [readlinkSync(path), readFileSync(path)],
    },
  ],
  [
    'a symbolic link to nowhere',
    { make: (path) => symlinkSync('/dev/shm/isthmus-nowhere', path), read: (path) => readlinkSync(path) },
  ],
  ['a FIFO', { make: (path) => execFileSync('mkfifo', [path]), read: (path) => lstatSync(path).isFIFO() }],
  [
    'a socket',
    {
      make: (path) =>
        new Promise<void>((resolve) => {
          const server = createServer()
          servers.push(server)
          server.listen(path, resolve)
        }),
      read: (path) => lstatSync(path).isSocket(),
    },
  ],
]

const PLACES: [string, () => [string | SegmentFile, string]][] = [
  [
    'under a name',
    () => {
      const name = uniqueName()
      return [name, pathOf(name)]
    },
  ],
  [
    'in a file',
    () => {
      const file = join(temporaryDirectory(), 'segment')
      return [{ file }, file]
    },
  ],
]

const ATTEMPTS: [string, string, (where: string | SegmentFile) => unknown][] = [
  ['open', 'ERR_ISTHMUS_FOREIGN', (where) => Segment.open(where, counter)],
  ['open with recover', 'ERR_ISTHMUS_FOREIGN', (where) => Segment.open(where, counter, { recover: true })],
  ['create', 'EEXIST', (where) => Segment.create(where, counter)],
  ['openOrCreate', 'ERR_ISTHMUS_FOREIGN', (where) => Segment.openOrCreate(where, counter)],
  ['unlink', 'ERR_ISTHMUS_FOREIGN', (where) => Segment.unlink(where)],
]

describe.each(PLACES)('A file that isthmus did not make, %s,', (_, place) => {
  describe.each(FOREIGNERS)('%s', (_, { make, read }) => {
    it.each(ATTEMPTS)('is refused by %s with %s, and not touched', async (_, code, attempt) => {
      const [where, path] = place()
      await make(path)
      const before = { stat: statOf(path), content: read(path), holdings: holdingsUnder('/dev/shm') }
      const error = expectCode(code, () => attempt(where))
      expect(error.message).toContain(typeof where === 'string' ? where : where.file)
      expect({ stat: statOf(path), content: read(path), holdings: holdingsUnder('/dev/shm') }).toEqual(before)
    })
  })
})

describe('A file that isthmus did not make', () => {
  it('is passed over by list and prune, forced or not', async () => {
    const paths: string[] = []
    for (const [, { make }] of FOREIGNERS) {
      const path = pathOf(uniqueName())
      await make(path)
      paths.push(path)
    }
    // The link leads to a segment that has no peers.
    using target = Segment.open(readlinkSync(paths[5]).slice('/dev/shm'.length), counter)
    const before = paths.map(statOf)
    expect(Segment.prune({ prefix: NAME_PREFIX })).toEqual([])
    expect(Segment.prune({ prefix: NAME_PREFIX, force: true })).toEqual([])
    expect(Segment.list().filter(({ name }) => paths.includes(pathOf(name)))).toEqual([])
    expect(paths.map(statOf)).toEqual(before)
    expect(target.peers.list()).toHaveLength(1)
  })
})

function statOf(path: string): unknown {
  const { ino, mtimeNs, ctimeNs, size, mode, nlink } = lstatSync(path, { bigint: true })
  return { ino, mtimeNs, ctimeNs, size, mode, nlink }
}
