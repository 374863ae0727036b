import { type RwLock, rwLock } from '@isthmus/sync'
import { agent, scenario } from '../scenario.js'
import { rwLockNames } from '../word-names.js'
import { type Guarded, guarded, plainOffsetOf } from './guarded.js'
import { janitor } from './janitor.js'

const layout = guarded(rwLock(), 2)
const words = { layout, ...rwLockNames('lock', 0), plainFromByteOffset: plainOffsetOf(rwLock()) }

/** Two words that are equal whenever nobody writes. Between the two writes is a step, so that a writer can die there. */
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

/** Half a write, and nobody said so. */
function wrongRead(reads: unknown): string | undefined {
  const wrong = (reads as Read[]).find(({ first, second, ownerDied }) => first !== second && !ownerDied)
  return wrong === undefined ? undefined : `a reader saw ${wrong.first} and ${wrong.second}`
}

export const rwLockTwo = scenario({
  name: 'rw-lock',
  about: 'A writer and a reader: never both inside, and nobody sleeps for ever.',
  ...words,
  agents: { writer: writer(), reader: reader() },
  check: ({ returned }) => wrongRead(returned('reader')),
})

export const rwLockTwice = scenario({
  name: 'rw-lock-twice',
  about: 'A writer and a reader, twice each: what one of them leaves behind does not mislead the other.',
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
  about: 'Two writers and a reader: never two inside, and the reader is woken by whichever writer it waited for.',
  ...words,
  agents: { writer: writer(), other: writer(), reader: reader() },
  check: ({ returned }) => wrongRead(returned('reader')),
})

export const rwLockReaderCrash = scenario({
  name: 'rw-lock-reader-crash',
  about:
    'A reader crashes anywhere. Its death is declared: the writer does not wait for it for ever, and is told of nothing.',
  ...words,
  mayCrash: ['reader'],
  agents: { reader: reader(), writer: writer(), janitor: janitor(layout) },
  check: ({ returned }) => ((returned('writer') as boolean[])[0] ? 'the writer was told of a death' : undefined),
})

export const rwLockWriterCrash = scenario({
  name: 'rw-lock-writer-crash',
  about:
    'A writer crashes anywhere. Its death is declared: the reader gets in, and is told where the writing was half done.',
  ...words,
  mayCrash: ['writer'],
  agents: { writer: writer(), reader: reader(), janitor: janitor(layout) },
  check: ({ returned, crashed }) => {
    const reads = returned('reader') as Read[]
    if (crashed === undefined && reads.some(({ ownerDied }) => ownerDied)) return 'a reader was told of a death'
    return wrongRead(reads)
  },
})
