import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { crc32 } from 'node:zlib'
import { Segment, type SegmentFile, type SegmentHandle } from '@isthmus/shm-posix'
import { CHECKSUM_WORD, FLUSHED_WORD, nowMs } from '@isthmus/sync/internal'
import { HeaderLockDeadline, withHeaderLock } from '../../../packages/shm-posix/src/segment/header-lock.js'
import { isWhole, type Outcome, type RaceAction, subject, track } from '../harness/segment-subject.js'
import { serve } from '../harness/serve.js'

/**
 * An agent that creates, opens and removes segments: in races with other agents, until it is killed, or thousands of
 * times.
 */

interface Course {
  /** The name of the segment whose words let the racers start together. */
  readonly track: string
  /** This racer's number, and how many racers there are. */
  readonly lane: number
  readonly lanes: number
  readonly rounds: number
}

const WATCHDOG_MS = 40_000
const kept: Segment<unknown>[] = []
const pause = new Int32Array(new SharedArrayBuffer(4))

/** Lets racers wait for each other. Each racer counts its meetings in a word of its own. */
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
      for (let polls = 0; Atomics.load(this.#words, other) < this.#meetings; polls++) {
        // Spins first, so that all racers start at the same time. Later another racer may need this processor.
        if (polls > 2000) Atomics.wait(pause, 0, 0, 0.05)
        if (nowMs() > deadline) throw new Error(`Racer ${other} did not reach meeting ${this.#meetings}`)
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

/** Waits for a random time below 0.15 ms, so that each round goes another way. */
function jitter(belowMs = 0.15): void {
  const end = nowMs() + Math.random() * belowMs
  while (nowMs() < end);
}

/** The same for racers. On a busy machine one that slept at the barrier may come later than 0.15 ms: now and then it wins, too. */
function jitterOfRacer(): void {
  jitter(Math.random() < 0.25 ? 3 : 0.15)
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? String(error)
}

function inodeOf(path: string): number | undefined {
  return fs.statSync(path, { throwIfNoEntry: false })?.ino
}

/** Makes this process see a file system without unnamed files (O_TMPFILE). */
function forbidUnnamedFiles(): void {
  const open = fs.openSync
  const withoutUnnamed = (path: fs.PathLike, flags: fs.OpenMode, mode?: fs.Mode | null) => {
    const wantsUnnamed = typeof flags === 'number' && (flags & 0o20000000) !== 0
    if (wantsUnnamed) throw Object.assign(new Error('There are no unnamed files'), { code: 'EOPNOTSUPP' })
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

/** How many mappings and descriptors this process has, and how many files of the test exist. */
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
   * In each round, if `isThere` is set, the first racer makes a segment and closes it. Then all racers act at once.
   * Each racer that has a segment reports what it has, and where the name leads once all have acted.
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
        jitterOfRacer()
        const { segment, code } = attempt(action, name)
        const inodeAtOnce = inodeOf(path)
        barrier.meet()
        // All have acted. A second prune must leave alone the segments that racers have open.
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

  /**
   * In each round all racers attach to a new file, change something and close at once. Returns whether the last state
   * was flushed.
   */
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

  /** Creates and removes a segment repeatedly until it is killed. */
  comeAndGo({ where, isTemporary }: { where: SegmentFile; isTemporary: boolean }): void {
    if (isTemporary) forbidUnnamedFiles()
    for (let turn = 0; ; turn++) {
      const segment = Segment.create(where, subject)
      // As long as creation takes: at a kill the segment exists as often as not.
      jitter()
      jitter()
      if (turn % 2 === 0) segment.close()
      Segment.unlink(where)
      if (turn % 2 === 1) segment.close()
    }
  },

  /** Dies between the two steps of a removal. */
  dieRemoving({ name }: { name: string }): void {
    fs.unlinkSync = () => process.kill(process.pid, 'SIGKILL')
    syncBuiltinESMExports()
    Segment.unlink(name)
  },

  /** Keeps the header lock of a segment until the segment's second word ends it. */
  holdHeaderLock({ name }: { name: string }): string {
    const segment = Segment.open(name, subject)
    const fd = fs.openSync(`/dev/shm${name}`, 'r+')
    const deadline = nowMs() + WATCHDOG_MS
    withHeaderLock({ fd, subject: name }, 'attaching', new HeaderLockDeadline(WATCHDOG_MS), () => {
      Atomics.store(segment.root, 2, 1)
      while (Atomics.load(segment.root, 3) === 0)
        if (nowMs() > deadline) throw new Error('The test never ended the hold of the header lock')
    })
    fs.closeSync(fd)
    segment.close()
    return 'let go'
  },

  /** Attaches, and keeps the attachment. Returns the peer id. */
  attach({ handle, mapper }: { handle: SegmentHandle; mapper: 'overlay' | 'view' }): number {
    const segment = Segment.attach(handle, subject, { mapper })
    kept.push(segment)
    return segment.peers.self
  },

  /** Makes an anonymous segment, which only this agent can reach. */
  createAnonymous(): void {
    kept.push(Segment.createAnonymous(subject))
  },

  /** Sends the buffer of the attachment to the thread that asks. */
  giveBuffer: (): ArrayBufferLike => kept[0].buffer,

  /** Creates and closes thousands of segments. Returns what is left of them. */
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
      // Lets finalization callbacks run.
      if (turn % 100 === 0) await new Promise(setImmediate)
    }
    await collectGarbage()
    return { before, after: holdings(prefix) }
  },

  /** Attaches `count` times without closing. The last word of the segment counts the attachments. */
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
