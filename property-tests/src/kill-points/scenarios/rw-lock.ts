import { type Attached, rwLock, struct, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

const layout = struct({ shared: rwLock(), told: words(4) })
type Root = Attached<typeof layout>

const READS = 1
const WRITES = 2
const HAS_NOTHING = 3

interface Turn {
  hadIt: boolean
}

/** Checks that a dead reader is gone, that a dead writer is reported, and that all others can read and write. */
function check(survivor: Survivor<Root>): void {
  const { shared, told } = survivor.root
  const { writers, readers } = shared.describe()
  const isWritten = writers.owner !== undefined
  if (told[0] === READS) expectEqual(readers.length, 1, 'Readers, while the victim reads')
  if (told[0] === WRITES) expect(isWritten, 'The victim writes, and the lock does not say so')
  if (told[0] === HAS_NOTHING) expect(!isWritten && readers.length === 0, 'The victim has given the lock back')
  takeAndRepair(survivor, isWritten || writers.isInconsistent)
}

/** Checks that the dead peer holds nothing, and that a lock it held for writing is inconsistent. */
function checkSwept(survivor: Survivor<Root>): void {
  const { shared, told } = survivor.root
  const { writers, readers, waitingReaders } = shared.describe()
  const left = [writers.owner, writers.waiters, readers, waitingReaders]
  expectEqual(left, [undefined, [], [], []], 'Writer, waiters and readers after a sweep')
  if (told[0] === WRITES) expect(writers.isInconsistent, 'The victim wrote, and the sweep left the lock consistent')
  takeAndRepair(survivor, writers.isInconsistent)
}

function takeAndRepair(survivor: Survivor<Root>, isDeathToTell: boolean): void {
  const { shared } = survivor.root
  const reading = shared.readLockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(reading !== undefined, 'The lock cannot be taken for reading')
  expectEqual(reading.ownerDied, isDeathToTell, 'ownerDied of a reader')
  reading.unlock()
  const writing = shared.writeLockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(writing !== undefined, 'The lock cannot be taken for writing')
  expectEqual(writing.ownerDied, isDeathToTell, 'ownerDied of a writer')
  writing.markConsistent()
  writing.unlock()
  const newcomer = survivor.newcomer().root.shared
  const next = newcomer.writeLockSync({ timeoutMs: HAD_WITHIN_MS })
  expect(
    next !== undefined && !next.ownerDied,
    'A newcomer cannot take the lock for writing, or is told of an old death',
  )
  next.unlock()
  const { writers, readers, waitingReaders } = shared.describe()
  expectEqual([writers.waiters, readers, waitingReaders], [[], [], []], 'Holders and waiters in the end')
}

function read(victim: Victim<Root>): void {
  const { shared, told } = victim.root
  const guard = shared.readLockSync()
  victim.has(READS, told)
  guard.unlock()
  told[0] = HAS_NOTHING
}

function write(victim: Victim<Root>): void {
  const { shared, told } = victim.root
  const guard = shared.writeLockSync()
  victim.has(WRITES, told)
  guard.unlock()
  told[0] = HAS_NOTHING
}

async function writeByPromise(victim: Victim<Root>): Promise<void> {
  const { shared, told } = victim.root
  const guard = await shared.writeLock()
  victim.has(WRITES, told)
  guard.unlock()
  told[0] = HAS_NOTHING
}

/**
 * Whether a peer waits for the lock. A writer that waits for readers owns the mutex and sleeps at another wait point.
 */
function isAwaited({ shared }: Root): boolean {
  const { writers, waitingReaders } = shared.describe()
  return writers.waiters.length > 0 || waitingReaders.length > 0
}

function isWriterThere({ shared }: Root): boolean {
  return shared.describe().writers.owner !== undefined
}

function readUntilWriterComes(victim: Victim<Root>): () => void {
  const guard = victim.root.shared.readLockSync()
  victim.beginsWhen(() => isWriterThere(victim.root))
  return () => {
    guard.unlock()
    victim.root.told[0] = HAS_NOTHING
  }
}

function writeUntilAwaited(victim: Victim<Root>): () => void {
  const guard = victim.root.shared.writeLockSync()
  victim.beginsWhen(() => isAwaited(victim.root))
  return () => {
    guard.unlock()
    victim.root.told[0] = HAS_NOTHING
  }
}

function checkTurn(survivor: Survivor<Root>, turn: Turn): void {
  expect(turn.hadIt, 'The waiter did not get the lock')
  takeAndRepair(survivor, survivor.root.shared.describe().writers.isInconsistent)
}

const newTurn = (): Turn => ({ hadIt: false })

export const rwLockScenarios: Scenario<unknown>[] = [
  scenario({ name: 'rw-lock: reads', layout, victim: (victim) => () => read(victim), check, checkSwept }),
  scenario({ name: 'rw-lock: writes', layout, victim: (victim) => () => write(victim), check, checkSwept }),
  scenario({
    name: 'rw-lock: writes by promise',
    layout,
    isVictimAwaiting: true,
    victim: (victim) => () => writeByPromise(victim),
    check,
  }),
  scenario({
    name: 'rw-lock: blocks to read',
    layout,
    prepare: ({ root }) => root.shared.writeLockSync(),
    meanwhile({ root, untilVictim }, guard) {
      untilVictim(() => isAwaited(root))
      guard.unlock()
    },
    victim: (victim) => () => read(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'rw-lock: blocks to write',
    layout,
    prepare: ({ root }) => root.shared.readLockSync(),
    meanwhile({ root, untilVictim }, guard) {
      untilVictim(() => isWriterThere(root))
      guard.unlock()
    },
    victim: (victim) => () => write(victim),
    check,
    checkSwept,
  }),
  scenario({
    name: 'rw-lock: awaits to write',
    isVictimAwaiting: true,
    layout,
    prepare: ({ root }) => root.shared.readLockSync(),
    meanwhile({ root, untilVictim }, guard) {
      untilVictim(() => isWriterThere(root))
      guard.unlock()
    },
    victim: (victim) => () => writeByPromise(victim),
    check,
  }),
  scenario({
    name: 'rw-lock: unlocks after reading for a writer who blocks',
    layout,
    prepare: newTurn,
    meanwhile({ root }, turn) {
      const guard = root.shared.writeLockSync({ timeoutMs: 3_000 })
      turn.hadIt = guard !== undefined
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    victim: readUntilWriterComes,
    check: checkTurn,
  }),
  scenario({
    name: 'rw-lock: unlocks after reading for a writer who awaits',
    layout,
    prepare: newTurn,
    async meanwhile({ root }, turn) {
      const guard = await root.shared.writeLock({ timeoutMs: 3_000 })
      turn.hadIt = guard !== undefined
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim: readUntilWriterComes,
    check: checkTurn,
  }),
  scenario({
    name: 'rw-lock: unlocks after writing for a reader who blocks',
    layout,
    prepare: newTurn,
    meanwhile({ root }, turn) {
      const guard = root.shared.readLockSync({ timeoutMs: 3_000 })
      turn.hadIt = guard !== undefined
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    victim: writeUntilAwaited,
    check: checkTurn,
  }),
  scenario({
    name: 'rw-lock: unlocks after writing for a reader who awaits',
    layout,
    prepare: newTurn,
    async meanwhile({ root }, turn) {
      const guard = await root.shared.readLock({ timeoutMs: 3_000 })
      turn.hadIt = guard !== undefined
      guard?.unlock()
    },
    isMeanwhileWaiting: true,
    isSurvivorAwaiting: true,
    victim: writeUntilAwaited,
    check: checkTurn,
  }),
]
