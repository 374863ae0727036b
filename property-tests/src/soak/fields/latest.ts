import { type Latest, type LatestValue, type LatestWriter, latest } from '@isthmus/ring'
import { struct, words } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import { beat, OWN_WORDS, segmentField } from '../field.js'

const WRITERS = 2
const ROLES = 6
const BYTES_MAX = 6000
/** The version of the last write whose call has returned. */
const WRITTEN = OWN_WORDS
/** What a reader was given last, for each role: its successor must not be given an older one. */
const SEEN = OWN_WORDS + 1
const LEDGER_WORDS = SEEN + ROLES

// The fewest slots: readers are overtaken as often as can be.
const layout = struct({ ledger: words(LEDGER_WORDS), cell: latest({ byteLength: BYTES_MAX, slots: 2 }) })
type Root = { readonly ledger: Int32Array; readonly cell: Latest }

/** Writers succeed each other and are killed, readers read, look and wait: each value is whole, and none comes back. */
export const latestField = segmentField({
  name: 'latest',
  roles: ROLES,
  layout,
  ledgerWords: LEDGER_WORDS,
  begin(root, { role, random, isRehearsal = false }) {
    if (role < WRITERS) {
      let writer: LatestWriter | undefined
      return () => {
        writer ??= root.cell.tryWriter()
        if (writer !== undefined) {
          writeSomehow(root, writer, random)
          if (random.isOneIn(20)) {
            writer.close()
            writer = undefined
          }
        }
        beat(root.ledger, role)
      }
    }
    return () => {
      readSomehow(root, role, random, isRehearsal)
      beat(root.ledger, role)
    }
  },
  audit({ ledger, cell }, isSwept) {
    const { writer, waitingReaders } = cell.describe()
    if (isSwept && (writer.state === 'held' || waitingReaders.length > 0)) {
      throw new Error(`Dead peers have the role, or wait: ${JSON.stringify({ writer, waitingReaders })}`)
    }
    const before = cell.read()
    if (before !== undefined) assertWhole(before)
    const version = before?.version ?? 0
    if (version < ledger[WRITTEN]) throw new Error(`Version ${version} is read, and ${ledger[WRITTEN]} was written`)
    const next = cell.writer()
    if (next.write(valueFor(version + 1, 100)) !== version + 1) throw new Error('The successor wrote another version')
    const after = cell.read()
    if (after?.version !== version + 1) throw new Error(`Version ${after?.version} is read after ${version + 1}`)
    assertWhole(after)
    next.close()
  },
})

/** All bytes of a value tell its version, and so does its length. */
function valueFor(version: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).fill(version & 0xff)
}

function writeSomehow({ ledger, cell }: Root, writer: LatestWriter, random: Random): void {
  const next = cell.version + 1
  const byteLength = random.isOneIn(4) ? 1 + random.below(BYTES_MAX) : 1 + random.below(100)
  let version: number
  if (random.isOneIn(2)) {
    version = writer.write(valueFor(next, byteLength))
  } else {
    writer.claim().fill(next & 0xff)
    if (random.isOneIn(5)) {
      writer.abort()
      return
    }
    version = writer.commit(byteLength)
  }
  if (version !== next) throw new Error(`Version ${version} was written after ${next - 1}`)
  Atomics.store(ledger, WRITTEN, version)
}

function readSomehow({ ledger, cell }: Root, role: number, random: Random, isRehearsal: boolean): void {
  const written = Atomics.load(ledger, WRITTEN)
  const seen = Atomics.load(ledger, SEEN + role)
  let read: LatestValue<Uint8Array> | undefined
  if (random.isOneIn(3)) {
    const look = cell.readInPlace((bytes, from, byteLength) => bytes.slice(from, from + byteLength))
    if (look?.isWhole === false) return
    read = look
  } else if (random.isOneIn(2) && !isRehearsal) {
    read = cell.nextSync({ after: seen, timeoutMs: 1 + random.below(20) })
    if (read === undefined) return
  } else {
    try {
      read = cell.read()
    } catch (error) {
      // With two slots, a writer that never rests may overtake every copy.
      if ((error as { code?: string }).code === 'ERR_ISTHMUS_BUSY') return
      throw error
    }
  }
  const version = read?.version ?? 0
  if (version < written) throw new Error(`Version ${version} is read, and ${written} was written before`)
  if (version < seen) throw new Error(`Version ${version} is read after ${seen}`)
  if (read === undefined) return
  assertWhole(read)
  Atomics.store(ledger, SEEN + role, version)
}

function assertWhole({ value, version }: LatestValue<Uint8Array>): void {
  if (value.some((byte) => byte !== (version & 0xff))) throw new Error(`Version ${version} is torn`)
}
