import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync } from 'node:fs'
import { IsthmusError, type Layout } from '@isthmus/sync'
import {
  assertHolds,
  assertReady,
  type HeaderFacts,
  markReady,
  nowMs,
  planHeader,
  REGION_ID_WORD,
  RETIRED,
  type Sweep,
  writeHeader,
} from '@isthmus/sync/internal'
import { allocate } from '../native/allocation.js'
import { openAnonymousFile } from '../native/anonymous-file.js'
import { avoidCopyOnWrite } from '../native/no-copy-on-write.js'
import { hasCode } from '../native/system-error.js'
import { writeBackFile } from '../native/write-back.js'
import { SegmentAttachment } from './attachment.js'
import { bootIdIfKnown, currentBootId, writeBootId } from './boot-id.js'
import { assertLocksWork, assertNameIsFree, openUnnamed, setSegmentMode } from './creation.js'
import { openHandle, readFactsOf, type SegmentHandle } from './handle.js'
import { pauseMs } from './header-lock.js'
import type { Location } from './location.js'
import type { CheckedOptions } from './options.js'
import { assertOwnerIsTrusted } from './owner.js'
import { completeRemoval, retireAgain } from './removal.js'
import { isStillThere, openExisting, readFacts, readWholeHeader } from './segment-file.js'
import { orUndo, type Undo } from './undo.js'

/** A segment that is just being attached, and what its layout does meanwhile. */
export interface Built<S> {
  readonly segment: S
  /** Gives back what a dead peer held in the structures. */
  readonly sweep: Sweep
  /** Fills the memory of a new segment. */
  initialize(): void
  /** Repairs the structures of a file that was changed after its last flush. */
  recover(): void
}

/** The layout and the options of a segment that is to be attached. */
export interface Plan<S> {
  readonly layout: Layout<unknown>
  readonly options: CheckedOptions
  readonly build: (attachment: SegmentAttachment, rootByteOffset: number) => Built<S>
}

const ANONYMOUS: Location = { path: '', directory: '', subject: 'an anonymous segment', isFile: false }

/** Opens and creates in turn, within one deadline: the segment may come and go in between. */
export function openOrCreate<S>(location: Location, plan: Plan<S>): S {
  const { retryUntilMs } = plan.options.deadline
  for (;;) {
    try {
      return open(location, plan)
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    try {
      return create(location, plan)
    } catch (error) {
      // Several processes may be creating the same segment and fill the file system for a moment. One of them will
      // succeed, so retry.
      const mayPass = hasCode(error, 'ENOSPC') && nowMs() < retryUntilMs
      if (mayPass) pauseMs(1 + Math.random() * 20)
      else if (!hasCode(error, 'EEXIST')) throw error
      else if (nowMs() >= retryUntilMs) throw changingError(location.subject)
    }
  }
}

export function open<S>(location: Location, plan: Plan<S>): S {
  for (;;) {
    const segment = openAt(location, plan)
    if (segment !== undefined) return segment
    if (nowMs() > plan.options.deadline.retryUntilMs) throw changingError(location.subject)
  }
}

/**
 * Attaches to the file that has the name now. Steps: (1) open the file, and check its owner; (2) read and check its header
 * without mapping anything; (3) if a remover has marked it, complete the removal; (4) compare the layout; (5) map it, and
 * make the FIFOs of this thread; (6) under the header lock, check that the name still leads to this file, and claim a slot.
 * @returns undefined if the segment was removed meanwhile: the name may lead to another one
 */
function openAt<S>(location: Location, plan: Plan<S>): S | undefined {
  const { path, subject } = location
  const { owner, deadline } = plan.options
  return orUndo((undo) => {
    const fd = openExisting(location)
    undo.add(() => closeSync(fd))
    assertOwnerIsTrusted(fd, subject, owner)
    const facts = readFacts(fd, subject)
    if (facts.state === RETIRED) {
      retireAgain(fd, location, deadline)
      undo.run()
      return undefined
    }
    assertReady(subject, facts)
    const segment = joinMapped(fd, location, facts, plan, undo, () => isStillThere(fd, path, subject))
    if (segment === undefined) undo.run()
    return segment
  })
}

/** Attaches to the file that another thread of this process has open. It needs no name. */
export function attach<S>(handle: SegmentHandle, plan: Plan<S>): S {
  return orUndo((undo) => {
    const fd = openHandle(handle)
    undo.add(() => closeSync(fd))
    const facts = readFactsOf(handle, fd)
    return joinMapped(fd, handle, facts, plan, undo, () => true) as S
  })
}

/**
 * Takes over the descriptor whose closing is the last step of `undo`.
 * @returns undefined if the segment is not there any more
 */
function joinMapped<S>(
  fd: number,
  location: Location,
  facts: HeaderFacts,
  { layout, options, build }: Plan<S>,
  undo: Undo,
  isStillThere: () => boolean,
): S | undefined {
  assertHolds(layout, location.subject, readWholeHeader(fd, location.subject, facts), facts)
  const attachment = SegmentAttachment.map(fd, location, facts, options.mapper)
  undo.replaceLast(() => attachment.release())
  const { segment, sweep, recover } = build(attachment, facts.rootByteOffset)
  const { deadline, recover: mayRecover } = options
  return attachment.join({ isStillThere, sweep, recover, mayRecover, deadline }) ? segment : undefined
}

/** Creates the segment. If a remover died between its two steps, takes the second one and tries again. */
export function create<S>(location: Location, plan: Plan<S>): S {
  const { owner, deadline } = plan.options
  for (let attempt = 1; ; attempt++) {
    try {
      return createAt(location, plan)
    } catch (error) {
      const mayRetry = attempt === 1 || nowMs() < deadline.retryUntilMs
      const isFree = hasCode(error, 'EEXIST') && mayRetry && completeRemoval(location, owner, deadline)
      if (!isFree) throw error
    }
  }
}

/**
 * Makes a whole segment, then gives it its name. Steps: (1) check that the name is free, since there may be no room for a
 * second copy; (2) make a file that no other process can reach; (3) reserve its blocks, set its mode, and check that its
 * file system has the locks on which every proof of death rests; (4) map it, write the header, claim a slot, initialise the
 * structures; (5) write a file to the disk; (6) link it to its name, which fails if another creator was faster. A creator
 * that is killed before (6) leaves nothing, or a file that `Segment.prune` and the next creator remove.
 */
function createAt<S>(location: Location, plan: Plan<S>): S {
  const { subject, isFile } = location
  const { mode } = plan.options
  assertNameIsFree(location)
  return orUndo((undo) => {
    const unnamed = openUnnamed(location, mode)
    const { fd } = unnamed
    undo.add(() => unnamed.discard())
    undo.add(() => closeSync(fd))
    if (isFile) avoidCopyOnWrite(fd)
    allocate(fd, planHeader(plan.layout).byteLength, subject)
    setSegmentMode(fd, mode, subject)
    assertLocksWork(fd, fstatSync(fd).dev, subject)
    const segment = initialize(fd, location, plan, undo)
    // Before it has a name: after a power failure, a file that has a name is complete.
    if (isFile) writeBackFile(fd, `creating ${subject}`)
    unnamed.publish()
    return segment
  })
}

export function createAnonymous<S>(plan: Plan<S>): S {
  return orUndo((undo) => {
    const fd = openAnonymousFile(planHeader(plan.layout).byteLength)
    undo.add(() => closeSync(fd))
    return initialize(fd, ANONYMOUS, plan, undo)
  })
}

/** Maps and fills a file that no other process can reach. Takes over the descriptor whose closing is the last step of `undo`. */
function initialize<S>(fd: number, location: Location, { layout, options, build }: Plan<S>, undo: Undo): S {
  const plan = planHeader(layout)
  const segmentId = randomBytes(8)
  const bootId = location.isFile ? currentBootId() : bootIdIfKnown()
  const shape = { ...plan, regionId: segmentId.toString('hex') }
  const attachment = SegmentAttachment.map(fd, location, shape, options.mapper)
  undo.replaceLast(() => attachment.release())
  const { segment, sweep, initialize } = build(attachment, plan.rootByteOffset)
  const { words } = attachment.memory
  // Not `bytes`, which are made when the program first asks for them.
  const header = new Uint8Array(words.buffer, words.byteOffset, plan.rootByteOffset)
  writeHeader(words, header, plan, layout)
  header.set(segmentId, REGION_ID_WORD * 4)
  if (bootId !== undefined) writeBootId(words, bootId)
  attachment.claimSlot(sweep)
  initialize()
  markReady(words)
  return segment
}

function changingError(subject: string): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_BUSY',
    `Opening ${subject}: until the deadline, its name led to another file each time. Either something keeps creating and removing it, or its file system does not keep inode numbers.`,
  )
}
