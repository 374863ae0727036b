import { afterEach, describe, expect, it } from 'vitest'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { removeEverything, temporaryDirectory } from '../support/names.js'

/**
 * How an event loop is woken if the usual way fails. Without these ways, each wake-up here would wait for a tick, which
 * these tests put off for a minute. The bound is a watchdog for a loaded machine; 1 to 30 ms are usual.
 */
const TICK_MS = 60_000
const SOON_MS = 20_000
const OWN_SHARED_MEMORY = { wrapper: withOwnSharedMemory('10m') }
/** A FIFO that is made again in between keeps its folder from going: the name that it had was deleted all the same. */
const DELETE_NAMES = 'rm -rf /dev/shm/* || true'
const isSuperuser = process.getuid?.() === 0

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

/** What happens to the two processes before they wake each other. */
interface Trouble {
  /** A command that runs the peer. */
  readonly peerWrapper?: readonly string[]
  /** Where the segment is; in memory if not given. */
  readonly file?: string
  /** Commands of a shell, before anything is attached. */
  readonly before?: string
  /** Commands of a shell, while both wait. */
  readonly meanwhile?: string
  /** Whether this process has no descriptor left when it wakes the peer for the first time. */
  readonly hasNoDescriptor?: boolean
  /** Whether a tick has to come first: no other way leads from one process to the other. */
  readonly needsTicks?: boolean
}

interface Talk {
  /** How long each of five round trips takes, in milliseconds. */
  readonly tookMs: number[]
  readonly warnings: (string | undefined)[]
  /** Whether each of the two can be woken, as the peers table says. */
  readonly canBeWoken: boolean[]
  /** All files below /dev/shm afterwards, without the numbers of threads. */
  readonly files: string[]
}

/** Two processes that wake each other's event loops, in trouble. */
function talkIn(trouble: Trouble): Promise<Talk> {
  return inChild(
    async (kit, { tickMs, ...trouble }) => {
      const { execFileSync, spawn } = kit.require('node:child_process') as typeof import('node:child_process')
      const { Segment, futex, struct, fallbackPolling } = await kit.load()
      fallbackPolling.tickMs = tickMs ?? fallbackPolling.tickMs
      const layout = struct({ there: futex(), back: futex(), arrived: futex() })
      const where = trouble.file === undefined ? '/talk' : { file: trouble.file }
      const shell = (command: string | undefined) => command && execFileSync('sh', ['-c', command])
      const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
      const warnings: (string | undefined)[] = []
      process.on('warning', (warning) => warnings.push((warning as { code?: string }).code))
      shell(trouble.before)

      const segment = Segment.create(where, layout)
      const { there, back, arrived } = segment.root
      const program = `
        import { Segment } from '@isthmus/shm-posix'
        import { futex, struct } from '@isthmus/sync'
        import { fallbackPolling } from '@isthmus/sync/internal'
        fallbackPolling.tickMs = ${fallbackPolling.tickMs}
        const layout = struct({ there: futex(), back: futex(), arrived: futex() })
        const { there, back, arrived } = Segment.open(${JSON.stringify(where)}, layout).root
        arrived.value = 1
        arrived.notifyAll()
        for (let round = 0; ; round++) {
          await there.waitWhile(round)
          back.value = round + 1
          back.notifyAll()
        }`
      const node = [process.execPath, '--input-type=module', '--no-warnings', '--eval', program]
      const [command, ...parameters] = [...(trouble.peerWrapper ?? []), ...node]
      const peer = spawn(command, parameters, { stdio: ['ignore', 'ignore', 'inherit'] })
      try {
        await arrived.waitWhile(0)
        // Both wait now. This loop has armed a wait while it still has descriptors.
        const first = back.waitWhile(0)
        await sleep(200)
        shell(trouble.meanwhile)
        const fillers: number[] = []
        try {
          while (trouble.hasNoDescriptor) fillers.push(kit.fs.openSync('/dev/null', 'r'))
        } catch {
          // Full.
        }
        const tookMs: number[] = []
        for (let round = 0; round < 5; round++) {
          const startedMs = performance.now()
          const answered = round === 0 ? first : back.waitWhile(round)
          there.value = round + 1
          there.notifyAll()
          await answered
          tookMs.push(performance.now() - startedMs)
          await sleep(40)
        }
        for (const filler of fillers) kit.fs.closeSync(filler)
        // A quick answer comes before the wait sleeps. One that lasts makes this loop look after its FIFOs.
        back.waitWhile(tookMs.length).catch(() => {
          // It ends with the segment.
        })
        await sleep(150)
        const files = kit.fs.readdirSync('/dev/shm', { recursive: true }).map(String)
        const canBeWoken = segment.peers.list().map((peer) => peer.canBeWoken)
        return {
          tookMs,
          warnings,
          canBeWoken,
          files: files.map((path) => path.replace(/[0-9a-f]{16}/, 'THREAD')).sort(),
        }
      } finally {
        peer.kill('SIGKILL')
        segment.close()
      }
    },
    { ...trouble, tickMs: trouble.needsTicks ? undefined : TICK_MS },
    OWN_SHARED_MEMORY,
  )
}

const USUAL_FILES = [
  'isthmus-0',
  'isthmus-0/THREAD.alive',
  'isthmus-0/THREAD.alive',
  'isthmus-0/THREAD.wake',
  'isthmus-0/THREAD.wake',
  'talk',
]

describe.runIf(isSuperuser)('Two event loops wake each other soon', () => {
  it('without any trouble', async () => {
    const { tookMs, warnings, canBeWoken, files } = await talkIn({})
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect([warnings, canBeWoken, files]).toEqual([[], [true, true], USUAL_FILES])
  })

  it('after all their names in /dev/shm were deleted, and make new ones', async () => {
    const { tookMs, warnings, canBeWoken, files } = await talkIn({ meanwhile: DELETE_NAMES })
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect([warnings, canBeWoken]).toEqual([[], [true, true]])
    expect(files).toEqual(USUAL_FILES.filter((path) => path !== 'talk'))
  })

  it('after that, in two PID namespaces, in which neither finds the descriptors of the other', async () => {
    const peerWrapper = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child']
    const { tookMs, canBeWoken } = await talkIn({ meanwhile: DELETE_NAMES, peerWrapper, needsTicks: true })
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect(canBeWoken).toEqual([true, true])
  })

  it('while the waker has no descriptor left', async () => {
    const { tookMs, warnings, canBeWoken } = await talkIn({ hasNoDescriptor: true })
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect([warnings, canBeWoken]).toEqual([[], [true, true]])
  })

  it('in a segment file that two containers share, each with a /dev/shm and PIDs of its own', async () => {
    const file = `${temporaryDirectory()}/shared`
    const unshare = [
      'unshare',
      '--mount',
      '--pid',
      '--fork',
      '--mount-proc',
      '--kill-child',
      '--propagation',
      'private',
    ]
    const peerWrapper = [...unshare, 'sh', '-c', 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', 'sh']
    const { tookMs, warnings, canBeWoken, files } = await talkIn({ file, peerWrapper })
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect([warnings, canBeWoken, files]).toEqual([[], [true, true], []])
  })

  it('through /tmp, if this user can have no files in /dev/shm', async () => {
    const seen = await talkWithWorkerIn('mount -o remount,ro /dev/shm && mount -t tmpfs tmpfs /tmp')
    expect(Math.max(...seen.tookMs)).toBeLessThan(SOON_MS)
    expect(seen).toMatchObject({ warnings: [], canBeWoken: [true, true], inTmp: ['isthmus-0'] })
  })

  it('by polling every 20 ms, if there is no place for their FIFOs at all, with one warning', async () => {
    const seen = await talkWithWorkerIn('mount -o remount,ro /dev/shm && mount -t tmpfs -o ro tmpfs /tmp')
    expect(Math.max(...seen.tookMs)).toBeLessThan(SOON_MS)
    expect(seen).toMatchObject({ warnings: ['ISTHMUS_UNREACHABLE'], canBeWoken: [false, false], inTmp: [] })
  })
})

/** Two threads of one process that wake each other's event loops. */
function talkWithWorkerIn(
  mounts: string,
): Promise<Pick<Talk, 'tookMs' | 'warnings' | 'canBeWoken'> & { inTmp: string[] }> {
  return inChild(
    async (kit, mounts) => {
      const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
      const { Worker } = kit.require('node:worker_threads') as typeof import('node:worker_threads')
      const { Segment, futex, struct } = await kit.load()
      const warnings: (string | undefined)[] = []
      process.on('warning', (warning) => warnings.push((warning as { code?: string }).code))
      execFileSync('sh', ['-c', mounts])
      const segment = Segment.createAnonymous(struct({ there: futex(), back: futex() }))
      const program = `
        const { workerData } = require('node:worker_threads')
        Promise.all([import('@isthmus/shm-posix'), import('@isthmus/sync')]).then(async ([{ Segment }, { futex, struct }]) => {
          const { there, back } = Segment.attach(workerData, struct({ there: futex(), back: futex() })).root
          for (let round = 0; ; round++) {
            await there.waitWhile(round)
            back.value = round + 1
            back.notifyAll()
          }
        })`
      const worker = new Worker(program, { eval: true, execArgv: [], workerData: segment.handle })
      const tookMs: number[] = []
      for (let round = 0; round < 5; round++) {
        const startedMs = performance.now()
        const { there, back } = segment.root
        there.value = round + 1
        there.notifyAll()
        await back.waitWhile(round)
        // The worker starts during the first one.
        if (round > 0) tookMs.push(performance.now() - startedMs)
        await new Promise((resolve) => setTimeout(resolve, 300))
      }
      const canBeWoken = segment.peers.list().map((peer) => peer.canBeWoken)
      const inTmp = kit.fs.readdirSync('/tmp')
      await worker.terminate()
      segment.close()
      return { tookMs, warnings, canBeWoken, inTmp }
    },
    mounts,
    OWN_SHARED_MEMORY,
  )
}

describe('The end of a process that did not close', () => {
  it('is told soon to a waiter that begins to wait just then', async () => {
    const lateMs = await inChild(
      async (kit) => {
        const { spawn } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Segment, mutex } = await kit.load()
        const segment = Segment.create('/ends', mutex())
        const program = `
          import { Segment } from '@isthmus/shm-posix'
          import { mutex } from '@isthmus/sync'
          const segment = Segment.open('/ends', mutex())
          segment.root.lockSync()
          process.exit()`
        const lateMs: number[] = []
        for (let round = 0; round < 6; round++) {
          const peer = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' })
          const exited = new Promise<number>((resolve) => peer.once('exit', () => resolve(performance.now())))
          // The peer has the lock now, and is about to end.
          while (segment.root.describe().state === 'free') await new Promise((resolve) => setImmediate(resolve))
          const guard = await segment.root.lock()
          lateMs.push(performance.now() - (await exited))
          guard.markConsistent()
          guard.unlock()
        }
        segment.close()
        return lateMs
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(lateMs).toHaveLength(6)
    // With ticks: such a process takes its names away a moment before it is gone. The machine may stand still at some ends.
    expect(lateMs.sort((a, b) => a - b)[2]).toBeLessThan(600)
  })
})

describe('A free lock', () => {
  it.each(['mutex', 'semaphore'])(
    'reaches a running waiter although stopped ones were woken first: %s',
    async (kind) => {
      const { tookMs, wokenStopped } = await inChild(
        async (kit, { kind, tickMs }) => {
          const { spawn } = kit.require('node:child_process') as typeof import('node:child_process')
          const { Segment, mutex, semaphore, struct, u32, fallbackPolling } = await kit.load()
          fallbackPolling.tickMs = tickMs
          const layout = struct({ lock: mutex(), permits: semaphore({ permits: 1 }), waiting: u32() })
          const segment = Segment.create('/stopped', layout)
          const { lock, permits, waiting } = segment.root
          const acquire = async () => (kind === 'mutex' ? lock.lockSync() : permits.acquireSync())
          const release = (held: unknown) => {
            if (kind === 'mutex') (held as { unlock(): void }).unlock()
            else (held as { release(): void }).release()
          }
          const held = await acquire()
          const program = `
          import { Segment } from '@isthmus/shm-posix'
          import { mutex, semaphore, struct, u32 } from '@isthmus/sync'
          const layout = struct({ lock: mutex(), permits: semaphore({ permits: 1 }), waiting: u32() })
          const { lock, permits, waiting } = Segment.open('/stopped', layout).root
          const acquired = ${kind === 'mutex'} ? lock.lock() : permits.acquire()
          waiting.add(1)
          await acquired
          process.exit(7)`
          const stopped = [1, 2, 3].map(() => {
            return spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' })
          })
          const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
          while (waiting.value < 3) await sleep(5)
          await sleep(100)
          for (const peer of stopped) peer.kill('SIGSTOP')
          await sleep(50)
          // The running waiter is an attachment of its own. It comes last, so the stopped ones are woken first.
          const living = Segment.open('/stopped', layout)
          const acquired = kind === 'mutex' ? living.root.lock.lock() : living.root.permits.acquire()
          await sleep(200)
          const startedMs = performance.now()
          release(held)
          await acquired
          const tookMs = performance.now() - startedMs
          for (const peer of stopped) peer.kill('SIGKILL')
          living.close()
          segment.close()
          return { tookMs, wokenStopped: stopped.filter(({ exitCode }) => exitCode === 7).length }
        },
        { kind, tickMs: TICK_MS },
        OWN_SHARED_MEMORY,
      )
      expect(wokenStopped).toBe(0)
      expect(tookMs).toBeLessThan(SOON_MS)
    },
  )
})

describe.runIf(isSuperuser)('The folder of a user', () => {
  it.each([
    ['a folder of another user', 'mkdir -m 777 /dev/shm/isthmus-0 && chown 65534 /dev/shm/isthmus-0'],
    ['a link to a folder', 'mkdir /dev/shm/elsewhere && ln -s /dev/shm/elsewhere /dev/shm/isthmus-0'],
    ['a file', 'touch /dev/shm/isthmus-0'],
  ])('is not used if %s has its name: then the FIFOs are beside it', async (_, before) => {
    const { tookMs, warnings, canBeWoken, files } = await talkIn({ before })
    expect(Math.max(...tookMs)).toBeLessThan(SOON_MS)
    expect([warnings, canBeWoken]).toEqual([[], [true, true]])
    expect(files.filter((path) => path.startsWith('isthmus-0/') || path.startsWith('elsewhere/'))).toEqual([])
    expect(files.filter((path) => path === 'isthmus-THREAD.wake')).toHaveLength(2)
  })

  it('is for its user alone until a segment is for others, too; no other user may ever write there', async () => {
    const modes = await inChild(
      async (kit) => {
        const { Segment, futex } = await kit.load()
        const mode = () => (kit.fs.statSync('/dev/shm/isthmus-0').mode & 0o7777).toString(8)
        process.umask(0o777)
        kit.fs.mkdirSync('/dev/shm/isthmus-0')
        kit.fs.chmodSync('/dev/shm/isthmus-0', 0o722)
        const own = Segment.createAnonymous(futex())
        const before = mode()
        const shared = Segment.create('/shared', futex(), { mode: 0o666 })
        const while_ = mode()
        shared.close()
        own.close()
        return [before, while_, kit.fs.existsSync('/dev/shm/isthmus-0')]
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(modes).toEqual(['700', '711', false])
  })

  it('lets a user of the same segment wake its threads, but take no wake-ups away', async () => {
    const seen = await inChild(
      async (kit) => {
        const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Segment, futex } = await kit.load()
        process.umask(0)
        const shared = Segment.create('/shared', futex(), { mode: 0o666 })
        const waiting = shared.root.waitWhile(0)
        await new Promise((resolve) => setTimeout(resolve, 300))
        const asNobody = (command: string) => {
          const parameters = ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-c', command]
          try {
            return execFileSync('setpriv', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
          } catch {
            return 'refused'
          }
        }
        const fifo = kit.fs.readdirSync('/dev/shm/isthmus-0').find((fileName) => fileName.endsWith('.wake'))
        const read = asNobody(`timeout 1 cat /dev/shm/isthmus-0/${fifo}`)
        const listed = asNobody('ls /dev/shm/isthmus-0')
        const written = asNobody(`echo woken > /dev/shm/isthmus-0/${fifo}; echo written`)
        shared.root.value = 1
        shared.root.notifyAll()
        await waiting
        shared.close()
        return { read, listed, written: written.trim() }
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(seen).toEqual({ read: 'refused', listed: 'refused', written: 'written' })
  })
})

describe("A stranger's file in /dev/shm", () => {
  it('makes no call fail: a running program, a leased file', async () => {
    const seen = await inChild(
      async (kit) => {
        const { execFileSync, spawn } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Segment, futex } = await kit.load()
        const base = '/dev/shm/isthmus-000000000000000'
        execFileSync('sh', [
          '-c',
          `cp /bin/sleep ${base}1.alive && chmod 777 ${base}1.alive && cp /bin/sleep ${base}2.wake`,
        ])
        const program = spawn(`${base}1.alive`, ['30'], { stdio: 'ignore' })
        const lease = `
          import fcntl, os, sys, time
          fd = os.open('${base}3.alive', os.O_CREAT | os.O_RDONLY, 0o666)
          fcntl.fcntl(fd, 1024, fcntl.F_RDLCK)
          print('leased', flush=True)
          time.sleep(30)`
        const holder = spawn('python3', ['-c', lease.replaceAll('\n          ', '\n')], {
          stdio: ['ignore', 'pipe', 'ignore'],
        })
        await new Promise((resolve) => holder.stdout?.once('data', resolve))
        try {
          return [
            kit.failureOf(() => Segment.create('/one', futex()).close()),
            kit.failureOf(() => Segment.open('/one', futex()).close()),
            kit.failureOf(() => Segment.createAnonymous(futex()).close()),
            kit.failureOf(() => Segment.list()),
            kit.failureOf(() => Segment.prune({ prefix: '/nothing' })),
          ].map((failure) => failure?.code ?? 'fine')
        } finally {
          program.kill('SIGKILL')
          holder.kill('SIGKILL')
        }
      },
      null,
      OWN_SHARED_MEMORY,
    )
    expect(seen).toEqual(['fine', 'fine', 'fine', 'fine', 'fine'])
  })
})
