import { chownSync, closeSync, existsSync, fstatSync, openSync, symlinkSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BOOT_ID_WORD } from '@isthmus/sync/internal'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { HeaderLockDeadline, withHeaderLock } from '../../src/segment/header-lock.js'
import { widenAccess } from '../../src/thread/fifo.js'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'

/** Segments among other users and namespaces, and on a system that lacks something. */

const isSuperuser = process.getuid?.() === 0

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

describe('A segment on a system that lacks something', () => {
  it.runIf(isSuperuser)('is refused without /proc, and not tried again and again', async () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const failures = await inChild(
      async ({ load, failureOf, require }, segmentName) => {
        const { Segment, struct, u32 } = await load()
        const layout = struct({ count: u32(), other: u32() })
        require('node:child_process').execFileSync('umount', ['-l', '/proc'])
        return [
          failureOf(() => Segment.open(segmentName, layout)),
          failureOf(() => Segment.openOrCreate(segmentName, layout)),
        ]
      },
      name,
      { wrapper: ['unshare', '--mount', '--propagation', 'private'] },
    )
    expect(failures.map((failure) => failure?.code)).toEqual(['ERR_ISTHMUS_UNSUPPORTED', 'ERR_ISTHMUS_UNSUPPORTED'])
  })

  it.runIf(isSuperuser)(
    'needs no boot id in memory, and is refused in a file with the reason for which that needs it',
    async () => {
      const file = join(temporaryDirectory(), 'segment')
      Segment.create({ file }, counter).close()
      const failures = await inChild(
        async ({ load, failureOf, require }, file) => {
          const { Segment, struct, u32 } = await load()
          const layout = struct({ count: u32(), other: u32() })
          require('node:child_process').execFileSync('mount', ['-t', 'proc', '-o', 'subset=pid', 'proc', '/proc'])
          return [
            failureOf(() => Segment.createAnonymous(layout).close()),
            failureOf(() => Segment.create('/without-boot-id', layout).close()),
            failureOf(() => Segment.open('/without-boot-id', layout).close()),
            failureOf(() => Segment.open({ file }, layout)),
            failureOf(() => Segment.openOrCreate({ file }, layout)),
            failureOf(() => Segment.create({ file: `${file}-2` }, layout)),
          ]
        },
        file,
        { wrapper: withOwnSharedMemory('1m') },
      )
      const unsupported = { code: 'ERR_ISTHMUS_UNSUPPORTED', message: expect.stringMatching(/boot_id.*subset=pid/) }
      expect(failures.slice(0, 3)).toEqual([null, null, null])
      expect(failures.slice(3)).toMatchObject([unsupported, unsupported, unsupported])
      expect(existsSync(`${file}-2`)).toBe(false)
    },
  )

  const permissionModel = [
    process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission',
    `--allow-fs-read=${fileURLToPath(new URL('../../../..', import.meta.url))}*`,
  ]

  it('works under the permission model of Node.js with the flags that it asks for', async () => {
    const count = await inChild(
      async ({ load }) => {
        const { Segment, struct, u32 } = await load()
        const layout = struct({ count: u32() })
        const segment = Segment.create('/permitted', layout, { mode: 0o660 })
        const opened = Segment.open('/permitted', layout)
        Segment.attach(segment.handle, layout).root.count.value = 3
        Segment.unlink('/permitted')
        const file = { file: '/dev/shm/a-file' }
        Segment.create(file, layout).close()
        Segment.open(file, layout).flush()
        Segment.createAnonymous(layout).close()
        return [opened.root.count.value, Segment.list().length, Segment.prune()]
      },
      null,
      {
        execArgv: [
          ...permissionModel,
          '--allow-addons',
          ...['/dev/shm/*', '/dev/null', '/proc/*'].flatMap((path) => [
            `--allow-fs-read=${path}`,
            `--allow-fs-write=${path}`,
          ]),
        ],
        wrapper: withOwnSharedMemory('1m'),
      },
    )
    expect(count).toEqual([3, 1, []])
  })

  it('is refused under the permission model of Node.js with the flags that are missing', async () => {
    const failures = await inChild(
      async ({ load, failureOf }) => {
        const { Segment, struct, u32 } = await load()
        const layout = struct({ count: u32() })
        return [
          () => Segment.create('/isthmus-not-permitted', layout),
          () => Segment.openOrCreate('/isthmus-not-permitted', layout),
          () => Segment.open('/isthmus-not-permitted', layout),
          () => Segment.create({ file: '/tmp/isthmus-not-permitted' }, layout),
          () => Segment.list(),
          () => Segment.prune(),
          () => Segment.unlink('/isthmus-not-permitted'),
        ].map(failureOf)
      },
      null,
      { execArgv: permissionModel },
    )
    for (const failure of failures) {
      expect(failure).toMatchObject({
        code: 'ERR_ISTHMUS_UNSUPPORTED',
        message: expect.stringMatching(/permission model.*--allow-fs-read and --allow-fs-write for \/dev\/shm/),
      })
    }
  })

  it('is refused with its owner and its mode if it may not be opened', async () => {
    const seen = await inChild(
      async ({ fs, load, failureOf }) => {
        const { Segment, struct, u32 } = await load()
        const layout = struct({ count: u32() })
        fs.chmodSync('/dev/shm', 0o1777)
        // Everything is loaded before the rights are given up.
        Segment.createAnonymous(layout).close()
        if (process.getuid?.() === 0) process.setuid?.(65534)
        Segment.create('/read-only', layout).close()
        fs.chmodSync('/dev/shm/read-only', 0o440)
        return {
          uid: process.getuid?.(),
          open: failureOf(() => Segment.open('/read-only', layout)),
        }
      },
      null,
      { wrapper: withOwnSharedMemory('1m') },
    )
    // In a user namespace there is no other user.
    if (seen.uid === 0) return
    const message = expect.stringMatching(/belongs to user 65534, and its mode is 0440/)
    expect(seen.open).toMatchObject({ code: 'EACCES', message })
  })

  it('is mapped by the overlay, or not at all, while descriptors run short', async () => {
    const mappers = await inChild(
      async ({ fs, load }) => {
        const { Segment, struct, u32 } = await load()
        const fillers: number[] = []
        try {
          for (;;) fillers.push(fs.openSync('/dev/null', 'r'))
        } catch {
          // Full.
        }
        // One more descriptor at a time: at some number the file can be opened, but the overlay not be tried.
        const made: string[] = []
        for (const filler of fillers.splice(0, 12)) {
          fs.closeSync(filler)
          try {
            const segment = Segment.createAnonymous(struct({ count: u32() }))
            made.push(segment.mapper)
            segment.close()
          } catch {
            made.push('none')
          }
        }
        return made
      },
      undefined,
      { wrapper: ['sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh'] },
    )
    expect(new Set(mappers)).toEqual(new Set(['none', 'overlay']))
  })

  it('is not pruned, without an error, if /dev/shm may only be read', async () => {
    const removed = await inChild(
      async ({ load, require }) => {
        const { Segment, struct, u32 } = await load()
        Segment.create('/left-over', struct({ count: u32() })).close()
        require('node:child_process').execFileSync('mount', ['-o', 'remount,ro', '/dev/shm'])
        return [Segment.prune(), Segment.list().map(({ name }) => name)]
      },
      undefined,
      { wrapper: withOwnSharedMemory('1m') },
    )
    expect(removed).toEqual([[], ['/left-over']])
  })
})

describe('A segment and the modules of the program', () => {
  it('does not disturb the resolution of symbolic links', async () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const link = join(temporaryDirectory(), 'package')
    symlinkSync(temporaryDirectory(), link)
    const files = await inChild(
      async ({ load, require }, [segmentName, directory]: [string, string]) => {
        const { Segment, struct, u32, futex } = await load()
        const layout = struct({ count: u32(), other: u32() })
        const files: string[] = []
        const loadModule = (file: string) => files.push(require(`${directory}/${file}`))
        const named = Segment.open(segmentName, layout)
        loadModule('module.cjs')
        const waits = Segment.createAnonymous(futex())
        waits.root.waitWhile(0, { timeoutMs: 1 })
        loadModule('after-waiting.cjs')
        Segment.list()
        Segment.prune({ prefix: '/nothing-like-this' })
        loadModule('after-pruning.cjs')
        named.close()
        return files
      },
      [name, linkWith(link, ['module.cjs', 'after-waiting.cjs', 'after-pruning.cjs'])] as [string, string],
    )
    expect(files.map((file) => file.startsWith(link))).toEqual([false, false, false])
  })

  /** Makes modules that export their path; returns the path of the link. */
  function linkWith(link: string, modules: string[]): string {
    for (const module of modules) writeFileSync(join(link, module), 'module.exports = __filename')
    return link
  }
})

describe('A segment and the boot id', () => {
  /** Makes a file look as in a container that has a boot id of its own. */
  function giveAnotherBootId(path: string): void {
    const fd = openSync(path, 'r+')
    writeSync(fd, new Uint8Array(16).fill(0x77), 0, 16, BOOT_ID_WORD * 4)
    closeSync(fd)
  }

  it('is not recovered while it has a live peer, whatever the boot id says', () => {
    const where = { file: join(temporaryDirectory(), 'orders') }
    using first = Segment.create(where, counter)
    first.root.count.value = 7
    giveAnotherBootId(where.file)
    let recoveries = 0
    const layout = { ...counter, recover: () => void recoveries++ }
    using second = Segment.open(where, layout, { recover: true })
    expect([second.root.count.value, recoveries]).toEqual([7, 0])
  })

  it('in memory does not outlive a boot, so its boot id is ignored', () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    giveAnotherBootId(pathOf(name))
    using opened = Segment.open(name, counter)
    expect(opened.root.count.value).toBe(0)
  })
})

describe('Segment.flush()', () => {
  it('waits for the header lock: of two at once, the checksum of the first must not come last', () => {
    const where = { file: join(temporaryDirectory(), 'orders') }
    const segment = Segment.create(where, counter, { lockTimeoutMs: 20 })
    const fd = openSync(where.file, 'r+')
    const flushing = () => expectCode('ERR_ISTHMUS_BUSY', () => segment.flush())
    withHeaderLock({ fd, subject: 'it' }, 'attaching', new HeaderLockDeadline(0), flushing)
    closeSync(fd)
    segment.flush()
    segment.close()
  })
})

describe('A segment and other users', () => {
  it.runIf(isSuperuser)('is closed by a process that has changed its user', async () => {
    const name = uniqueName()
    const failure = await inChild(async ({ load, failureOf }, segmentName) => {
      const { Segment, struct, u32 } = await load()
      const segment = Segment.create(segmentName, struct({ count: u32() }), { mode: 0o666 })
      process.setgid?.(65534)
      process.setuid?.(65534)
      return failureOf(() => segment.close())
    }, name)
    expect(failure).toBe(null)
  })

  it.runIf(isSuperuser)('is opened if its group has no number in a user namespace', async () => {
    const name = uniqueName()
    Segment.create(name, counter, { mode: 0o666 }).close()
    chownSync(pathOf(name), 0, 1234)
    const count = await inChild(
      async ({ load }, segmentName) => {
        const { Segment, struct, u32 } = await load()
        return Segment.open(segmentName, struct({ count: u32(), other: u32() })).root.count.value
      },
      name,
      { wrapper: ['unshare', '--user', '--map-root-user'] },
    )
    expect(count).toBe(0)
  })

  it('lets all users who may attach wake its threads, although a FIFO has one owner and one group', () => {
    const own = process.geteuid?.() ?? 0
    const file = (mode: number, uid: number, gid: number) => Object.assign(fstatSync(0), { mode, uid, gid })
    const none = { mode: 0, gid: 1 }
    expect(widenAccess(none, file(0o100600, own, 5))).toEqual({ mode: 0o600, gid: 1 })
    expect(widenAccess(none, file(0o100660, own, 5))).toEqual({ mode: 0o660, gid: 5 })
    // Another user's segment, which we may open as the superuser; a second group.
    expect(widenAccess(none, file(0o100600, own + 1, 5))).toEqual({ mode: 0o606, gid: 1 })
    expect(widenAccess({ mode: 0o660, gid: 5 }, file(0o100660, own, 6))).toEqual({ mode: 0o666, gid: 5 })
    expect(widenAccess({ mode: 0o660, gid: 5 }, file(0o100660, own, 5))).toEqual({ mode: 0o660, gid: 5 })
  })
})
