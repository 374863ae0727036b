import { chownSync, rmSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { basename } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { libc } from '../../src/native/libc.js'
import { removeFifosIfGone } from '../../src/thread/fifo-removal.js'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { endpointOf, fifoPath, fifosOf, threadOf } from '../support/fifos.js'
import { counter } from '../support/ledger.js'
import { removeEverything, uniqueName } from '../support/names.js'
import { openDescriptors } from '../support/processes.js'

/** So that no other test prunes there. */
const OWN_SHARED_MEMORY = { wrapper: withOwnSharedMemory('10m') }
const isSuperuser = process.getuid?.() === 0

afterEach(async () => {
  vi.restoreAllMocks()
  await endAllChildren()
  removeEverything()
})

/** The thread to which the FIFO with this path belongs. */
function threadIn(path: string): string {
  return basename(path, '.alive').replace(/\.wake$/, '')
}

function modeOf(thread: string, kind: 'alive' | 'wake'): number {
  return statSync(fifoPath(thread, kind)).mode & 0o7777
}

describe('ThreadEndpoints', () => {
  it('serves all segments of a thread, from the first to the last, and leaves nothing', () => {
    const before = openDescriptors()
    const one = Segment.createAnonymous(counter)
    const thread = threadOf(one)
    expect(fifosOf(thread)).toEqual(['alive'])
    const other = Segment.create(uniqueName(), counter)
    expect(threadOf(other)).toBe(thread)
    other.waiter.listen()
    other.waiter.listen()
    one.waiter.listen()
    expect(fifosOf(thread)).toEqual(['alive', 'wake'])
    other.close()
    expect(fifosOf(thread)).toEqual(['alive', 'wake'])
    one.close()
    one.close()
    expect(fifosOf(thread)).toEqual([])
    expect(openDescriptors()).toEqual(before)
    expectCode('ERR_ISTHMUS_CLOSED', () => one.waiter.listen())
    expect(fifosOf(thread)).toEqual([])
    using next = Segment.createAnonymous(counter)
    expect(threadOf(next)).not.toBe(thread)
    expect([one.waiter.wakeLoop(next.peers.self), openDescriptors().length]).toEqual([false, before.length + 2])
  })

  it('does not outlive an attachment that failed', () => {
    const before = openDescriptors()
    const initialize = () => {
      throw new Error('of a layout')
    }
    const layout = { ...counter, initialize }
    expect(() => Segment.createAnonymous(layout)).toThrow()
    expect(() => Segment.create(uniqueName(), layout)).toThrow()
    expect(openDescriptors()).toEqual(before)
    using segment = Segment.createAnonymous(counter)
    const thread = threadOf(segment)
    expect(() => Segment.createAnonymous(layout)).toThrow()
    expect(fifosOf(thread)).toEqual(['alive'])
  })

  it('lets the users who may attach watch and wake the thread, and no others', () => {
    const anonymous = Segment.createAnonymous(counter)
    const thread = threadOf(anonymous)
    expect(modeOf(thread, 'alive')).toBe(0o600)
    anonymous.waiter.listen()
    expect(modeOf(thread, 'wake')).toBe(0o600)
    const shared = Segment.create(uniqueName(), counter, { mode: 0o660 })
    expect([modeOf(thread, 'alive'), modeOf(thread, 'wake')]).toEqual([0o640, 0o620])
    using open = Segment.create(uniqueName(), counter, { mode: 0o606 })
    expect([modeOf(thread, 'alive'), modeOf(thread, 'wake')]).toEqual([0o644, 0o622])
    anonymous.close()
    shared.close()
    expect([modeOf(thread, 'alive'), open.isClosed]).toEqual([0o644, false])
  })

  it.runIf(isSuperuser)('gives its FIFOs the group of the segment', () => {
    const name = uniqueName()
    Segment.create(name, counter, { mode: 0o660 }).close()
    const c = libc()
    expect(c).toBeDefined()
    using own = Segment.createAnonymous(counter)
    const thread = threadOf(own)
    const { gid } = statSync(fifoPath(thread, 'alive'))
    expect(gid).toBe(process.getgid?.())
    chownSync(`/dev/shm${name}`, 0, 12345)
    using grouped = Segment.open(name, counter)
    grouped.waiter.listen()
    expect(['alive', 'wake'].map((kind) => statSync(fifoPath(thread, kind as 'alive')).gid)).toEqual([12345, 12345])
  })

  it.each(['EPERM', 'EINVAL'] as const)('opens the FIFOs to all users if they cannot get the group: %s', (code) => {
    const c = libc()
    vi.spyOn(c, 'fchown').mockReturnValue(-1)
    vi.spyOn(c, 'errno').mockReturnValue(constants.errno[code])
    using segment = Segment.create(uniqueName(), counter, { mode: 0o660 })
    segment.waiter.listen()
    const thread = threadOf(segment)
    expect([modeOf(thread, 'alive'), modeOf(thread, 'wake')]).toEqual([0o644, 0o622])
  })

  it('leaks nothing in a thousand segments', { timeout: 120_000 }, async () => {
    const name = uniqueName()
    Segment.create(name, counter).close()
    const descriptors = openDescriptors()
    const threads = new Set<string>()
    for (let cycle = 0; cycle < 1000; cycle++) {
      const segment = Segment.open(name, counter)
      segment.waiter.listen()
      threads.add(threadOf(segment))
      segment.close()
    }
    expect(threads.size).toBe(1000)
    expect(openDescriptors()).toEqual(descriptors)
    expect([...threads].flatMap(fifosOf)).toEqual([])
    expect(process.listenerCount('exit')).toBeLessThan(10)
  })

  it('ends with the last segment, also if the program has forgotten it, and not with an earlier one', async () => {
    const seen = await inChild(
      async (kit, name) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const fifos = () =>
          kit.fs
            .readdirSync('/dev/shm', { recursive: true })
            .map(String)
            .filter((path) => /\.(alive|wake)$/.test(path))
        const forget = () => Segment.open(name, layout).waiter.listen()
        const kept = Segment.create(name, layout)
        forget()
        await kit.collectGarbage()
        // A slot of a thread that lives looks dead now. Its sweep must take nothing from the thread.
        const successor = Segment.open(name, layout)
        const slots = successor.peers.list().map(({ peer }) => peer & 127)
        const whileKept = fifos().length
        Segment.prune()
        const afterPrune = fifos().length
        kept.close()
        successor.close()
        const afterClose = fifos().length
        forget()
        await kit.collectGarbage()
        return { slots, whileKept, afterPrune, afterClose, afterForgotten: fifos().length }
      },
      uniqueName(),
      { ...OWN_SHARED_MEMORY, execArgv: ['--expose-gc'] },
    )
    expect(seen).toEqual({ slots: [0, 1], whileKept: 2, afterPrune: 2, afterClose: 0, afterForgotten: 0 })
  })

  it.each(['returns', 'process.exit()', 'an error'])(
    'leaves no FIFO if the process ends by itself: %s',
    async (way) => {
      const seen = await inChild(
        async (kit, way) => {
          const { spawnSync } = kit.require('node:child_process') as typeof import('node:child_process')
          const program = `
          import { Segment } from '@isthmus/shm-posix'
          import { struct, u32 } from '@isthmus/sync'
          import fs from 'node:fs'
          const segment = Segment.create('/left', struct({ count: u32() }))
          segment.waiter.listen()
          process.stdout.write(fs.readdirSync('/dev/shm', { recursive: true }).length + '')
          if (${JSON.stringify(way)} === 'process.exit()') process.exit()
          if (${JSON.stringify(way)} === 'an error') throw new Error('of the program')`
          const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', program])
          return [String(stdout), kit.fs.readdirSync('/dev/shm')]
        },
        way,
        OWN_SHARED_MEMORY,
      )
      // The segment, the folder, and two FIFOs in it.
      expect(seen).toEqual(['4', ['left']])
    },
  )
})

describe('A place for FIFOs', () => {
  it('loses its folder again if there is room for nothing else', async () => {
    const seen = await inChild(
      async (kit) => {
        const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Segment, futex } = await kit.load()
        // One inode for its root, one for the segment, one for the folder.
        execFileSync('sh', ['-c', 'mkdir /dev/shm/full && mount -t tmpfs -o nr_inodes=3 tmpfs /dev/shm/full'])
        const segment = Segment.create({ file: '/dev/shm/full/segment' }, futex())
        segment.waiter.listen()
        const names = [kit.fs.readdirSync('/dev/shm/full'), kit.fs.readdirSync('/dev/shm').sort()]
        segment.close()
        return [...names, kit.fs.readdirSync('/dev/shm')]
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(seen).toEqual([['segment'], ['full', 'isthmus-0'], ['full']])
  })

  it('has no folder after an attachment that fails because no descriptor is left', async () => {
    const failures = await inChild(
      async (kit) => {
        const { Segment, futex } = await kit.load()
        Segment.create('/few', futex()).close()
        const fillers: number[] = []
        try {
          for (;;) fillers.push(kit.fs.openSync('/dev/null', 'r'))
        } catch {
          // Full.
        }
        const failures: [string | undefined, string[]][] = []
        for (const filler of fillers) {
          kit.fs.closeSync(filler)
          const failure = kit.failureOf(() => Segment.open('/few', futex()).close())
          if (failure === undefined) return failures
          failures.push([failure.code, kit.fs.readdirSync('/dev/shm')])
        }
        throw new Error('It never succeeded')
      },
      null,
      { wrapper: [...withOwnSharedMemory('10m'), 'sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh'] },
    )
    expect(failures.length).toBeGreaterThan(0)
    expect(failures).toEqual(failures.map(() => ['EMFILE', ['few']]))
  })

  it.runIf(isSuperuser)('is another one after the process has changed its user', async () => {
    const seen = await inChild(
      async (kit) => {
        const { Segment, futex } = await kit.load()
        const NOBODY = 65534
        const own = Segment.create('/own', futex())
        own.waiter.listen()
        Segment.create('/grouped', futex(), { mode: 0o660 }).close()
        kit.fs.chownSync('/dev/shm/grouped', NOBODY, 2000)
        Segment.create('/open', futex(), { mode: 0o666 }).close()
        process.setgroups?.([])
        process.setgid?.(NOBODY)
        process.setuid?.(NOBODY)
        const modes = () => {
          const folder = `/dev/shm/isthmus-${NOBODY}`
          return kit.fs.readdirSync(folder).map((name) => {
            return `${name.slice(17)} ${(kit.fs.statSync(`${folder}/${name}`).mode & 0o7777).toString(8)}`
          })
        }
        const grouped = Segment.open('/grouped', futex())
        grouped.waiter.listen()
        const modesForGroup = modes().sort()
        const open = Segment.open('/open', futex(), { owner: 0 })
        const canBeWoken = [grouped, open].map((segment) => segment.peers.list()[0].canBeWoken)
        for (const segment of [open, grouped, own]) segment.close()
        return { modesForGroup, canBeWoken, isFolderLeft: kit.fs.existsSync(`/dev/shm/isthmus-${NOBODY}`) }
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(seen).toEqual({
      // The user is not in the group of that segment.
      modesForGroup: ['alive 644', 'wake 622'],
      canBeWoken: [true, true],
      isFolderLeft: false,
    })
  })
})

describe('The FIFOs of a killed thread', () => {
  it.each(['SIGKILL', 'worker.terminate()'])('stay until its slot is swept, or until prune: %s', async (way) => {
    const seen = await inChild(
      async (kit, way) => {
        const { spawn } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Worker } = kit.require('node:worker_threads') as typeof import('node:worker_threads')
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const observer = Segment.create('/watched', layout)
        const fifos = () =>
          kit.fs
            .readdirSync('/dev/shm', { recursive: true })
            .map(String)
            .filter((path) => /\.(alive|wake)$/.test(path))
        const own = fifos()
        const program = `
          Promise.all([import('@isthmus/shm-posix'), import('@isthmus/sync')]).then(([{ Segment }, { struct, u32 }]) => {
            const segment = Segment.open('/watched', struct({ count: u32() }))
            segment.waiter.listen()
            if (process.send) process.send('attached')
            else require('node:worker_threads').parentPort.postMessage('attached')
          })
          setInterval(() => {}, 1000)`
        const killOne = async () => {
          if (way === 'SIGKILL') {
            const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as ('ignore' | 'inherit' | 'ipc')[]
            const peer = spawn(process.execPath, ['--eval', program], { stdio })
            await new Promise((resolve) => peer.once('message', resolve))
            const exited = new Promise((resolve) => peer.once('exit', resolve))
            Segment.prune()
            const alive = fifos().length
            peer.kill('SIGKILL')
            await exited
            return alive
          }
          const worker = new Worker(program, { eval: true, execArgv: [] })
          await new Promise((resolve) => worker.once('message', resolve))
          Segment.prune()
          const alive = fifos().length
          await worker.terminate()
          return alive
        }
        const alive = await killOne()
        const killed = fifos().length
        const successor = Segment.open('/watched', layout)
        const swept = fifos()
        const secondAlive = await killOne()
        const secondKilled = fifos().length
        const names = Segment.prune({ prefix: '/nothing' })
        const pruned = fifos()
        successor.close()
        observer.close()
        return { own: own.length, alive, killed, swept, secondAlive, secondKilled, names, pruned, isSame: own[0] }
      },
      way,
      OWN_SHARED_MEMORY,
    )
    const own = [seen.isSame]
    expect(seen).toEqual({
      own: 1,
      alive: 3,
      killed: 3,
      swept: own,
      secondAlive: 3,
      secondKilled: 3,
      names: [],
      pruned: own,
      isSame: expect.any(String),
    })
  })

  it('are removed also if only the wake FIFO is left', async () => {
    const left = await inChild(
      async (kit) => {
        const { Segment } = await kit.load()
        const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
        execFileSync('mkfifo', ['/dev/shm/isthmus-0123456789abcdef.wake'])
        // Files and FIFOs that only look similar.
        kit.fs.writeFileSync('/dev/shm/isthmus-0123456789abcdee.alive', 'precious')
        kit.fs.mkdirSync('/dev/shm/isthmus-0123456789abcdee.wake')
        kit.fs.symlinkSync('/dev/shm/text', '/dev/shm/isthmus-0123456789abcded.alive')
        execFileSync('mkfifo', ['/dev/shm/isthmus-of-a-program.alive'])
        const listed = Segment.list()
        Segment.prune({ force: true })
        return [listed, kit.fs.readdirSync('/dev/shm').sort()]
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(left).toEqual([
      [],
      [
        'isthmus-0123456789abcded.alive',
        'isthmus-0123456789abcdee.alive',
        'isthmus-0123456789abcdee.wake',
        'isthmus-of-a-program.alive',
      ],
    ])
  })
})

describe('A thread that attaches to its first segment', () => {
  it('reads as much of /dev/shm if it is crowded, and removes what killed threads left in a folder that is not', async () => {
    const seen = await inChild(
      async (kit) => {
        const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
        const { syncBuiltinESMExports } = kit.require('node:module') as typeof import('node:module')
        const { Segment, futex } = await kit.load()
        Segment.create('/first', futex()).close()
        const folder = '/dev/shm/isthmus-0'
        kit.fs.mkdirSync(folder, 0o700)
        const nameOf = (thread: number) => `${folder}/${(0x1000000 + thread).toString(16).padStart(16, '0')}.alive`
        const leaveFifos = (count: number) => {
          const names = Array.from({ length: count }, (_, thread) => nameOf(thread))
          while (names.length > 0) execFileSync('mkfifo', names.splice(0, 2000))
        }
        let entries = 0
        const { readdirSync, opendirSync } = kit.fs
        Object.assign(kit.fs, {
          readdirSync: (...[path, options]: Parameters<typeof readdirSync>) => {
            const found = readdirSync(path, options)
            entries += found.length
            return found
          },
          opendirSync: (...parameters: Parameters<typeof opendirSync>) => {
            const directory = opendirSync(...parameters)
            const readSync = directory.readSync.bind(directory)
            directory.readSync = () => {
              entries++
              return readSync()
            }
            return directory
          },
        })
        syncBuiltinESMExports()
        const attach = (times: number) => {
          let most = 0
          for (let time = 0; time < times; time++) {
            entries = 0
            Segment.open('/first', futex()).close()
            most = Math.max(most, entries)
          }
          return most
        }
        leaveFifos(20)
        const readOfFew = attach(30)
        const fewLeft = kit.fs.existsSync(folder)
        kit.fs.mkdirSync(folder, 0o700)
        leaveFifos(10_000)
        for (let file = 0; file < 10_000; file++) kit.fs.writeFileSync(`/dev/shm/file-${file}`, '')
        return { readOfFew, fewLeft, readOfMany: attach(30) }
      },
      null,
      { wrapper: withOwnSharedMemory('50m') },
    )
    expect(seen).toMatchObject({ fewLeft: false })
    expect(seen.readOfFew).toBeGreaterThan(10)
    // 128, and the end of the directory.
    expect([seen.readOfFew, seen.readOfMany].filter((entries) => entries > 129)).toEqual([])
  })
})

describe('removeFifosIfGone()', () => {
  it('removes nothing of a thread that lives', () => {
    using segment = Segment.createAnonymous(counter)
    segment.waiter.listen()
    const thread = threadOf(segment)
    removeFifosIfGone(endpointOf(thread))
    expect(fifosOf(thread)).toEqual(['alive', 'wake'])
    rmSync(fifoPath(thread, 'alive'))
    removeFifosIfGone(endpointOf(thread))
    expect(fifosOf(thread)).toEqual(['wake'])
  })

  it('between the making of a FIFO and its lock makes the thread begin again', () => {
    const c = libc()
    const { mkfifo } = c
    const made: string[] = []
    vi.spyOn(c, 'mkfifo').mockImplementation((path, mode) => {
      const result = mkfifo(path, mode)
      made.push(path)
      if (made.length <= 2) removeFifosIfGone(endpointOf(threadIn(path)))
      return result
    })
    using segment = Segment.createAnonymous(counter)
    expect(made).toHaveLength(3)
    const thread = threadOf(segment)
    expect([made[2], fifosOf(thread)]).toEqual([fifoPath(thread, 'alive'), ['alive']])
  })

  it('between the opening of a FIFO and its lock makes the thread begin again', () => {
    const c = libc()
    const made = vi.spyOn(c, 'mkfifo')
    const { fcntlLock } = c
    let isRemoved = false
    vi.spyOn(c, 'fcntlLock').mockImplementation((fd, command, flock) => {
      const [path] = made.mock.lastCall ?? []
      if (path !== undefined && !isRemoved) {
        isRemoved = true
        const own = new Uint8Array(flock)
        removeFifosIfGone(endpointOf(threadIn(path)))
        flock.set(own)
      }
      return fcntlLock(fd, command, flock)
    })
    using segment = Segment.createAnonymous(counter)
    // Its folder was removed with the FIFO, so the second attempt fails, and makes the folder.
    expect(made).toHaveBeenCalledTimes(3)
    const thread = threadOf(segment)
    expect(fifosOf(thread)).toEqual(['alive'])
    // The same for the wake FIFO, whose name is known already, while no liveness FIFO answers for it.
    rmSync(fifoPath(thread, 'alive'))
    isRemoved = false
    segment.waiter.listen()
    expect(made).toHaveBeenCalledTimes(6)
    expect(fifosOf(thread)).toEqual(['wake'])
  })
})

describe('A name that looks like that of a FIFO', () => {
  it('is refused for segments', () => {
    expectCode('ERR_ISTHMUS_INVALID_NAME', () => Segment.create('/isthmus-0123456789abcdef.alive', counter))
    expectCode('ERR_ISTHMUS_INVALID_NAME', () => Segment.create('/isthmus-1000', counter))
  })
})
