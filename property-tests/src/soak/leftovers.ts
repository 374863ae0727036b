import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'

/** Where this user's threads have their FIFOs, and what the FIFOs are called: in the user's folder, or without one. */
const FIFO_PLACES: readonly (readonly [directory: string, name: RegExp])[] = [
  [`/dev/shm/isthmus-${process.geteuid?.()}`, /^[0-9a-f]{16}\./],
  ['/dev/shm', /^isthmus-[0-9a-f]{16}\./],
]
const LOOK_AGAIN_MS = 60

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/**
 * Removes what a round may leave, and returns what is left in /dev/shm all the same: its segments, and FIFOs on which
 * no process has the lock. The kernel's list of locks is read twice, since a living thread makes its FIFO before it
 * locks it.
 */
export function leftoversOf(prefix: string): string[] {
  Segment.prune({ prefix })
  const files = readdirSync('/dev/shm').filter((name) => `/${name}`.startsWith(prefix))
  const suspects = unheldFifos()
  if (suspects.size === 0) return files
  Atomics.wait(sleeper, 0, 0, LOOK_AGAIN_MS)
  Segment.prune({ prefix })
  const again = unheldFifos()
  return [...files, ...[...suspects].filter((suspect) => again.has(suspect))]
}

/** Removes everything that a failed round has left. */
export function removeAll(prefix: string): void {
  Segment.prune({ prefix, force: true })
  for (const name of readdirSync('/dev/shm')) {
    if (`/${name}`.startsWith(prefix)) rmSync(`/dev/shm/${name}`, { force: true })
  }
}

function unheldFifos(): Set<string> {
  const held = lockedInodes()
  const fifos = FIFO_PLACES.flatMap(([directory, name]) =>
    namesIn(directory).flatMap((file) => (name.test(file) ? [`${directory}/${file}`] : [])),
  )
  return new Set(
    fifos.filter((path) => {
      const file = statSync(path, { throwIfNoEntry: false })
      return file !== undefined && !held.has(file.ino)
    }),
  )
}

/** The last thread of this user that leaves removes the folder. */
function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}

/** Parses lines such as `1: OFDLCK ADVISORY  WRITE -1 00:19:1234 0 0`. */
function lockedInodes(): Set<number> {
  const lines = readFileSync('/proc/locks', 'latin1').split('\n')
  return new Set(lines.map((line) => Number(/ [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line)?.[1])))
}
