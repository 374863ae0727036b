import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { crc32 } from 'node:zlib'
import { Segment, type SegmentFile, type SegmentHandle } from '@isthmus/shm-posix'
import { CHECKSUM_WORD, FLUSHED_WORD, nowMs } from '@isthmus/sync/internal'
import { HeaderLockDeadline, withHeaderLock } from '../../../packages/shm-posix/src/segment/header-lock.js'
import { isWhole, type Outcome, type RaceAction, subject, track } from '../harness/segment-subject.js'
import { serve } from '../harness/serve.js'

/** An agent that creates, opens and removes segments: in races with others, until it is killed, or thousands of times. */

interface Course {
  /** The segment whose words let the racers start together. */
  readonly track: string
  /** This racer's place among them, and their number. */
  readonly lane: number
  readonly lanes: number
  readonly rounds: number
}

const WATCHDOG_MS = 40_000
const kept: Segment<unknown>[] = []
const pause = new Int32Array(new SharedArrayBuffer(4))

/** Meets the others: returns when all have come. A word of its own for each racer, so that nobody counts twice. */
class Barrier {
  readonly #words: Int32Array
  readonly #course: Course
  #meetings = 0

  constructor(words: Int32Array, course: Course) {
    this.#words = words
    this.#course = course
  }

  meet(): void {
    const { lane, lanes } = this.#course
    this.#meetings++
    Atomics.store(this.#words, lane, this.#meetings)
    const deadline = nowMs() + WATCHDOG_MS
    for (let other = 0; other < lanes; other++) {
      for (let looks = 0; Atomics.load(this.#words, other) < this.#meetings; looks++) {
        // Awake at first, since all are to start at the same time; then it may be that another racer needs this processor.
        if (looks > 2000) Atomics.wait(pause, 0, 0, 0.05)
        if (nowMs() > deadline) throw new Error(`Racer ${other} did not come to meeting ${this.#meetings}`)
      }
    }
  }
}

function onTrack<R>(course: Course, race: (barrier: Barrier) => R): R {
  const segment = Segment.open(course.track, track)
  try {
    return race(new Barrier(segment.root, course))
  } finally {
    segment.close()
  }
}

/** A few microseconds more or less: each round goes another way. */
function jitter(): void {
  const end = nowMs() + Math.random() * 0.15
  while (nowMs() < end);
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? String(error)
}

function inodeOf(path: string): number | undefined {
  return fs.statSync(path, { throwIfNoEntry: false })?.ino
}

/** A file system without files that have no name. */
function forbidUnnamedFiles(): void {
  const open = fs.openSync
  const withoutUnnamed = (path: fs.PathLike, flags: fs.OpenMode, mode?: fs.Mode | null) => {
    const wantsUnnamed = typeof flags === 'number' && (flags & 0o20000000) !== 0
    if (wantsUnnamed) throw Object.assign(new Error('There are no files without a name'), { code: 'EOPNOTSUPP' })
    return open(path, flags, mode)
  }
  fs.openSync = withoutUnnamed
  syncBuiltinESMExports()
}

function attempt(action: RaceAction, name: string): { segment?: Segment<Int32Array>; code?: string } {
  try {
    switch (action) {
      case 'unlink':
        Segment.unlink(name)
        return {}
      case 'prune':
        return { code: Segment.prune({ prefix: name }).includes(name) ? 'pruned' : 'kept' }
      default:
        return { segment: Segment[action](name, subject) }
    }
  } catch (error) {
    return { code: codeOf(error) }
  }
}

/** What this process holds of files in memory, and what there is of them. */
function holdings(prefix: string) {
  const mappings = fs.readFileSync('/proc/self/maps', 'utf8').match(/ rw-s .*(\/dev\/shm|\/memfd:isthmus)/g)
  const descriptors = fs.readdirSync('/proc/self/fd').length
  const files = fs.readdirSync('/dev/shm').filter((fileName) => `/${fileName}`.startsWith(prefix)).length
  return { mappings: mappings?.length ?? 0, descriptors, files }
}

async function collectGarbage(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

serve({
  /**
   * Each round: the first racer makes a segment that nobody uses, where `isThere` says so. All act at once. Then whoever
   * has a segment says what he has, and looks again after everybody has acted.
   */
  race({
    name,
    actions,
    isThere,
    ...course
  }: Course & { name: string; actions: RaceAction[]; isThere: boolean }): Outcome[] {
    const path = `/dev/shm${name}`
    const action = actions[course.lane]
    return onTrack(course, (barrier) =>
      Array.from({ length: course.rounds }, () => {
        let oldId: string | undefined
        if (course.lane === 0 && isThere) {
          const old = Segment.create(name, subject)
          oldId = old.handle.segmentId
          old.close()
        }
        barrier.meet()
        jitter()
        const { segment, code } = attempt(action, name)
        const inodeAtOnce = inodeOf(path)
        barrier.meet()
        // Nobody acts any more, but for pruning, which has to leave alone what somebody has.
        if (action === 'prune') Segment.prune({ prefix: name })
        barrier.meet()
        const outcome: Outcome = {
          oldId,
          code,
          namedInodes: [inodeAtOnce, inodeOf(path)],
          ...(segment === undefined
            ? {}
            : {
                segmentId: segment.handle.segmentId,
                inode: fs.statSync(segment.handle.path).ino,
                initialisations: segment.root[0],
                creator: segment.root[1],
                isWhole: isWhole(segment.root),
              }),
        }
        barrier.meet()
        segment?.close()
        barrier.meet()
        if (course.lane === 0) fs.rmSync(path, { force: true })
        return outcome
      }),
    )
  },

  /** Each round: all attach to a new file, change something, and close at once. Was the last state flushed? */
  closeRace({ directory, ...course }: Course & { directory: string }): boolean[] {
    return onTrack(course, (barrier) =>
      Array.from({ length: course.rounds }, (_, round) => {
        const where: SegmentFile = { file: `${directory}/${round}` }
        if (course.lane === 0) Segment.create(where, subject).close()
        barrier.meet()
        const before = new Int32Array(new Uint8Array(fs.readFileSync(where.file)).buffer)[FLUSHED_WORD]
        const segment = Segment.open(where, subject)
        const rootByteOffset = segment.root.byteOffset
        barrier.meet()
        Atomics.add(segment.root, 1, 1)
        barrier.meet()
        jitter()
        segment.close()
        barrier.meet()
        const file = fs.readFileSync(where.file)
        const words = new Int32Array(new Uint8Array(file).buffer)
        barrier.meet()
        if (course.lane === 0) fs.rmSync(where.file)
        return words[FLUSHED_WORD] > before && words[CHECKSUM_WORD] === (crc32(file.subarray(rootByteOffset)) | 0)
      }),
    )
  },

  /** Creates and removes, on and on, until it is killed. */
  comeAndGo({ where, isTemporary }: { where: SegmentFile; isTemporary: boolean }): void {
    if (isTemporary) forbidUnnamedFiles()
    for (let turn = 0; ; turn++) {
      const segment = Segment.create(where, subject)
      // As long as it takes to make one: a kill finds it as often there as not.
      jitter()
      jitter()
      if (turn % 2 === 0) segment.close()
      Segment.unlink(where)
      if (turn % 2 === 1) segment.close()
    }
  },

  /** Is killed between the two steps of a removal. */
  dieRemoving({ name }: { name: string }): void {
    fs.unlinkSync = () => process.kill(process.pid, 'SIGKILL')
    syncBuiltinESMExports()
    Segment.unlink(name)
  },

  /** Keeps the header lock of a segment until its second word says that it is enough. */
  holdHeaderLock({ name }: { name: string }): string {
    const segment = Segment.open(name, subject)
    const fd = fs.openSync(`/dev/shm${name}`, 'r+')
    const deadline = nowMs() + WATCHDOG_MS
    withHeaderLock({ fd, subject: name }, 'attaching', new HeaderLockDeadline(WATCHDOG_MS), () => {
      Atomics.store(segment.root, 2, 1)
      while (Atomics.load(segment.root, 3) === 0) if (nowMs() > deadline) throw new Error('Nobody said: enough')
    })
    fs.closeSync(fd)
    segment.close()
    return 'let go'
  },

  /** Attaches, and keeps the attachment. Returns the peer. */
  attach({ handle, mapper }: { handle: SegmentHandle; mapper: 'overlay' | 'view' }): number {
    const segment = Segment.attach(handle, subject, { mapper })
    kept.push(segment)
    return segment.peers.self
  },

  /** Has a segment of its own, which only this agent can reach. */
  createAnonymous(): void {
    kept.push(Segment.createAnonymous(subject))
  },

  /** Gives the memory of the attachment away, to the thread that asks. */
  giveBuffer: (): ArrayBufferLike => kept[0].buffer,

  /** What is left of thousands of segments. */
  async cycle({ prefix, cycles, kind }: { prefix: string; cycles: number; kind: 'named' | 'anonymous' | 'view' }) {
    const cycle = (turn: number): void => {
      if (kind === 'anonymous') {
        Segment.createAnonymous(subject).close()
        return
      }
      const name = `${prefix}${turn}`
      const segment = Segment.create(name, subject, kind === 'view' ? { mapper: 'view' } : {})
      if (turn % 2 === 0) Segment.unlink(name)
      segment.close()
      if (turn % 2 === 1) Segment.unlink(name)
    }
    for (let turn = 0; turn < 10; turn++) cycle(turn)
    await collectGarbage()
    const before = holdings(prefix)
    for (let turn = 0; turn < cycles; turn++) {
      cycle(turn)
      // Lets what was registered for collected objects be done.
      if (turn % 100 === 0) await new Promise(setImmediate)
    }
    await collectGarbage()
    return { before, after: holdings(prefix) }
  },

  /** Attaches so many times and forgets to close; the last word of the segment counts them. */
  async forget({ name, count }: { name: string; count: number }) {
    await collectGarbage()
    const before = holdings(name)
    const peers: number[] = []
    const forget = (): void => {
      const segment = Segment.open(name, subject)
      Atomics.add(segment.root, 2, 1)
      peers.push(segment.peers.self)
    }
    for (let turn = 0; turn < count; turn++) forget()
    const meanwhile = holdings(name)
    await collectGarbage()
    return { before, meanwhile, after: holdings(name), peers }
  },
})
