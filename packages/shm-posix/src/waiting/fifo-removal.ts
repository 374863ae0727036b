import { closeSync, constants, existsSync, openSync, readdirSync } from 'node:fs'
import { statDescriptor } from '../native/descriptor-stat.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { hasCode } from '../native/system-error.js'
import { FIFO_NAME, fifoPath, holdFifo, unlinkFifo } from './fifo.js'

const NEWCOMERS_SHARE = 16

/** Removes the FIFOs of all threads that are gone. */
export function pruneFifos(): void {
  for (const thread of threadsWithFifos()) removeFifosIfGone(thread)
}

/** Looks at a few of them: where every newcomer does, nothing piles up, and nobody pays for a crowd. */
export function pruneSomeFifos(): void {
  const threads = threadsWithFifos()
  const first = Math.floor(Math.random() * threads.length)
  for (let step = 0; step < Math.min(NEWCOMERS_SHARE, threads.length); step++) {
    removeFifosIfGone(threads[(first + step) % threads.length])
  }
}

function threadsWithFifos(): string[] {
  const threads = readdirSync(SHARED_MEMORY_DIRECTORY).flatMap((fileName) => FIFO_NAME.exec(fileName)?.[1] ?? [])
  return [...new Set(threads)]
}

/**
 * Removes the FIFOs of a thread that is proven gone. Its slot in a segment may have looked dead while it lives: a segment
 * that the program has forgotten loses its locks, and nothing else of its thread.
 */
export function removeFifosIfGone(thread: string): void {
  const [life, bell] = [fifoPath(thread, 'life'), fifoPath(thread, 'bell')]
  // The life FIFO goes last: as long as it stands, it answers for both.
  removeIfUnheld(life, () => unlinkFifo(bell))
  if (!existsSync(life)) removeIfUnheld(bell)
}

/** With the lock that its thread would have: nobody makes it theirs between the proof and the removal. */
function removeIfUnheld(path: string, removeOthers?: () => void): void {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (error) {
    if (isNotOurs(error)) return
    throw error
  }
  try {
    if (!statDescriptor(fd).isFIFO() || !holdFifo(fd)) return
    removeOthers?.()
    unlinkFifo(path)
  } catch (error) {
    if (!isNotOurs(error)) throw error
  } finally {
    closeSync(fd)
  }
}

/** Gone already, of another user, or nothing that isthmus made. */
function isNotOurs(error: unknown): boolean {
  return hasCode(error, 'ENOENT', 'EACCES', 'EPERM', 'ELOOP', 'EISDIR', 'ENXIO', 'EROFS')
}
