import { type RwLock, rwLock } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { rwLockNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

const layout = guarded(rwLock(), 2)
const words = { layout, ...rwLockNames('lock', 0), plainFromByteOffset: plainOffsetOf(rwLock()) }

/**
 * Writes two words that are equal outside of a write. An Atomics operation lies between, so that a crash can fall
 * there.
 */
function write({ inner, step, plain }: Guarded<RwLock>): boolean {
  const guard = inner.writeLockSync()
  const { ownerDied } = guard
  if (ownerDied) {
    plain.set(plain.get(0), 1)
    guard.markConsistent()
  }
  plain.increment(0)
  step.add(1)
  plain.increment(1)
  guard.unlock()
  return ownerDied
}

function read({ inner, plain }: Guarded<RwLock>): { first: number; second: number; ownerDied: boolean } {
  const guard = inner.readLockSync()
  const [first, second] = [plain.get(0), plain.get(1)]
  const { ownerDied } = guard
  guard.unlock()
  return { first, second, ownerDied }
}

function writer(times = 1) {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run: (root) => Array.from({ length: times }, () => write(root)),
  })
}

function reader(times = 1) {
  return agent(layout, {
    prepare: (tools) => tools.attach().root,
    run: (root) => Array.from({ length: times }, () => read(root)),
  })
}

type Read = ReturnType<typeof read>

/** Finds a read that saw half a write without being told of a death. */
function wrongRead(reads: unknown): string | undefined {
  const wrong = (reads as Read[]).find(({ first, second, ownerDied }) => first !== second && !ownerDied)
  return wrong === undefined ? undefined : `a reader saw ${wrong.first} and ${wrong.second}`
}

export const rwLockTwo = scenario({
  name: 'rw-lock',
  about: 'A writer and a reader: never both hold the lock, and both get it.',
  ...words,
  agents: { writer: writer(), reader: reader() },
  check: ({ returned }) => wrongRead(returned('reader')),
})

export const rwLockTwice = scenario({
  name: 'rw-lock-twice',
  about: 'A writer and a reader, twice each: what a first turn leaves in memory does not mislead a second one.',
  ...words,
  agents: { writer: writer(2), reader: reader(2) },
  check: ({ returned }) => wrongRead(returned('reader')),
})

export const rwLockReaders = scenario({
  name: 'rw-lock-readers',
  about: 'A writer and two readers: the writer waits for both, and both are woken when it is done.',
  ...words,
  agents: { writer: writer(), reader: reader(), other: reader() },
  check: ({ returned }) => wrongRead(returned('reader')) ?? wrongRead(returned('other')),
})

export const rwLockWriters = scenario({
  name: 'rw-lock-writers',
  about:
    'Two writers and a reader: never two hold the lock, and the reader is woken by the writer for which it waited.',
  ...words,
  agents: { writer: writer(), other: writer(), reader: reader() },
  check: ({ returned }) => wrongRead(returned('reader')),
})

export const rwLockReaderCrash = scenario({
  name: 'rw-lock-reader-crash',
  about:
    'A reader crashes anywhere, and its death is declared: the writer stops waiting for it, and is not told of a death.',
  ...words,
  mayCrash: ['reader'],
  agents: { reader: reader(), writer: writer(), janitor: janitor(layout) },
  check: ({ returned }) => ((returned('writer') as boolean[])[0] ? 'the writer was told of a death' : undefined),
})

export const rwLockWriterCrash = scenario({
  name: 'rw-lock-writer-crash',
  about:
    'A writer crashes anywhere, and its death is declared: the reader gets the lock, and is told if the write was half done.',
  ...words,
  mayCrash: ['writer'],
  agents: { writer: writer(), reader: reader(), janitor: janitor(layout) },
  check: ({ returned, crashed }) => {
    const reads = returned('reader') as Read[]
    if (crashed === undefined && reads.some(({ ownerDied }) => ownerDied)) return 'a reader was told of a death'
    return wrongRead(reads)
  },
})
