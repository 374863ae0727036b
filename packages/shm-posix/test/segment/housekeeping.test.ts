import { spawn } from 'node:child_process'
import fs, { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment, SystemCallError } from '../../src/index.js'
import { openTemporary } from '../../src/segment/creation.js'
import { fileNamesIn } from '../../src/segment/housekeeping.js'
import { locate } from '../../src/segment/location.js'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { NAME_PREFIX, pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'

const restores: (() => void)[] = []

afterEach(async () => {
  for (const restore of restores.splice(0)) restore()
  await endAllChildren()
  removeEverything()
})

/** Makes the calls that open this file fail, and no others. */
function failToOpen(path: string, error: Error): void {
  const { openSync } = fs
  const opening: typeof openSync = (opened, ...rest) => {
    if (opened === path) throw error
    return openSync(opened, ...rest)
  }
  replace({ openSync: opening })
}

function replace(functions: Partial<typeof fs>): void {
  const before = Object.fromEntries(Object.keys(functions).map((name) => [name, fs[name as keyof typeof fs]]))
  Object.assign(fs, functions)
  syncBuiltinESMExports()
  restores.push(() => {
    Object.assign(fs, before)
    syncBuiltinESMExports()
  })
}

function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: made up, open '${path}'`), { code, errno: -5, syscall: 'open', path })
}

/** Errors of the system about a file that another program has put there. */
const OF_A_FILE = ['ETXTBSY', 'EAGAIN', 'ENXIO', 'EISDIR', 'ELOOP', 'EIO', 'ESTALE', 'ENODEV', 'EOVERFLOW', 'EACCES']
const OF_ITSELF = ['EMFILE', 'ENFILE', 'ENOMEM']

const listAndPrune = [
  ['list', () => Segment.list().map(({ name }) => name)],
  ['prune', () => Segment.prune({ prefix: NAME_PREFIX })],
] as const

describe.each(listAndPrune)('Segment.%s()', (_, keepHouse) => {
  it.each(OF_A_FILE)('passes over a file whose opening fails with %s', (code) => {
    const [strange, unused] = [uniqueName(), uniqueName()]
    for (const name of [strange, unused]) Segment.create(name, counter).close()
    failToOpen(pathOf(strange), systemError(code, strange))
    const names = keepHouse()
    expect(names).toContain(unused)
    expect(names).not.toContain(strange)
  })

  it('passes over a file that Node.js does not let it open', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    failToOpen(pathOf(name), Object.assign(new Error('restricted'), { code: 'ERR_ACCESS_DENIED' }))
    expect(keepHouse()).not.toContain(name)
  })

  it.each(OF_ITSELF)('reports that this process has run out of something: %s', (code) => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    failToOpen(
      pathOf(name),
      Object.assign(systemError(code, name), { errno: { EMFILE: -24, ENFILE: -23 }[code] ?? -12 }),
    )
    const error = expectCode(code, keepHouse)
    expect(error).toBeInstanceOf(SystemCallError)
  })

  it('reports that /dev/shm cannot be read', () => {
    const { readdirSync } = fs
    const reading = (path: string, ...rest: unknown[]) => {
      if (path === '/dev/shm' && rest[0] === 'buffer')
        throw Object.assign(systemError('EACCES', path), { errno: -13, syscall: 'scandir' })
      return (readdirSync as (...given: unknown[]) => unknown)(path, ...rest)
    }
    replace({ readdirSync: reading as typeof readdirSync })
    expect(expectCode('EACCES', keepHouse).message).toMatch(/reading \/dev\/shm: it cannot be read/)
  })

  it('does not hide a fault of isthmus', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    failToOpen(pathOf(name), new TypeError('a mistake'))
    expect(keepHouse).toThrow('a mistake')
  })

  it('passes over a file that is truncated while it is read', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const { readSync } = fs
    let reads = 0
    const reading = (...given: Parameters<typeof readSync>) => {
      // The first read is of the fixed header.
      if (++reads === 2) fs.truncateSync(pathOf(name), 200)
      return readSync(...given)
    }
    replace({ readSync: reading as typeof readSync })
    expect(keepHouse()).not.toContain(name)
    expect(reads).toBeGreaterThanOrEqual(2)
  })
})

describe('A creator', () => {
  it.each([...OF_A_FILE, ...OF_ITSELF])(
    'ignores an unfinished file whose opening fails with %s: it needs nothing of it',
    (code) => {
      const directory = temporaryDirectory()
      const unfinished = join(directory, '.isthmus-0123456789abcdef.unfinished')
      writeFileSync(unfinished, '')
      failToOpen(unfinished, systemError(code, unfinished))
      const file = openTemporary(locate({ file: join(directory, 'segment') }), 0o600)
      file.publish()
      fs.closeSync(file.fd)
      expect(existsSync(unfinished)).toBe(true)
    },
  )
})

describe.each([
  ['ETXTBSY', /a program that is running/],
  ['EAGAIN', /a lease/],
])('A name whose file cannot be opened (%s)', (code, message) => {
  it('is refused with an explanation', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    failToOpen(pathOf(name), systemError(code, name))
    for (const attempt of [
      () => Segment.open(name, counter),
      () => Segment.openOrCreate(name, counter),
      () => Segment.unlink(name),
    ]) {
      expect(expectCode('ERR_ISTHMUS_FOREIGN', attempt).message).toMatch(message)
    }
    expectCode('EEXIST', () => Segment.create(name, counter))
  })
})

describe('A program that runs from /dev/shm', () => {
  it('occupies its own name, and disturbs nothing else', async () => {
    const name = uniqueName()
    copyFileSync('/bin/sleep', pathOf(name))
    const program = spawn(pathOf(name), ['60'])
    await new Promise((resolve, reject) => program.once('spawn', resolve).once('error', reject))
    try {
      expectCode('ERR_ISTHMUS_FOREIGN', () => Segment.open(name, counter))
      const other = uniqueName()
      Segment.create(other, counter).close()
      expect(Segment.list().map(({ name }) => name)).toContain(other)
      expect(Segment.prune({ prefix: NAME_PREFIX })).toEqual([other])
    } finally {
      program.kill('SIGKILL')
    }
  })
})

describe('A FIFO of another program', () => {
  it('is not opened by list and prune, which would wake that program', async () => {
    const seen = await inChild(
      async ({ fs, load, require }) => {
        const { Segment } = await load()
        require('node:child_process').execFileSync('mkfifo', ['/dev/shm/theirs'])
        const opened: unknown[] = []
        const { openSync } = fs
        const opening: typeof openSync = (path, ...rest) => {
          opened.push(path)
          return openSync(path, ...rest)
        }
        require('node:fs').openSync = opening
        require('node:module').syncBuiltinESMExports()
        Segment.list()
        Segment.prune()
        return opened
      },
      null,
      { wrapper: withOwnSharedMemory('1m') },
    )
    expect(seen).not.toContain('/dev/shm/theirs')
  })
})

describe('fileNamesIn()', () => {
  it('leaves out a name that is not UTF-8, which would be mistaken for another one', () => {
    const directory = temporaryDirectory()
    for (const bytes of [[0xff], [0xed, 0xa0, 0x80], [...Buffer.from('\ufffd')], [...Buffer.from('é')]]) {
      mkdirSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(bytes)]))
    }
    expect(fileNamesIn(directory).sort()).toEqual(['é', '\ufffd'].sort())
  })

  it('says which directory does not exist', () => {
    const directory = temporaryDirectory()
    rmSync(directory, { recursive: true })
    expect(expectCode('ENOENT', () => fileNamesIn(directory)).message).toContain(`${directory}: there is no such`)
  })
})
