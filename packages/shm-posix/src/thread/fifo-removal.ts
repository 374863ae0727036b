import { closeSync, constants, existsSync, lstatSync, openSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { statDescriptor } from '../native/descriptor-stat.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { isSystemError } from '../native/system-error.js'
import { holdFifo, unlinkFifo } from './fifo.js'
import { FIFO_NAME, type FifoPlace, FOLDER_NAME, removeFolder } from './fifo-place.js'
import type { PeerEndpoint } from './peer-endpoint.js'

/**
 * What killed threads leave. All of this is housekeeping: whatever an operating system says about a file whose name
 * nobody chose, the file is passed over, and the caller goes on.
 */
const NEWCOMERS_SHARE = 16
const USER_FOLDER = /\/\.?isthmus-\d+$/

/** Removes the FIFOs of all threads that are gone, of every user as far as this one may. */
export function pruneFifos(): void {
  pruneFolder(SHARED_MEMORY_DIRECTORY)
  for (const folder of namesIn(SHARED_MEMORY_DIRECTORY).filter((name) => FOLDER_NAME.test(name))) {
    const path = join(SHARED_MEMORY_DIRECTORY, folder)
    if (!isFolder(path)) continue
    pruneFolder(path)
    removeFolder(path)
  }
}

/** Looks at a few of them: since every newcomer does, nothing piles up, and none pays for a crowd. */
export function pruneSomeFifos(place: FifoPlace): void {
  if (place.folder === undefined) return
  const threads = threadsIn(place.folder)
  const first = Math.floor(Math.random() * threads.length)
  for (let step = 0; step < Math.min(NEWCOMERS_SHARE, threads.length); step++) {
    removeThread(place.folder, threads[(first + step) % threads.length])
  }
}

/**
 * Removes the FIFOs of a thread that is proven gone. Its slot in a segment may have looked dead while it lives: a segment
 * that the program has forgotten loses its locks, and nothing else of its thread.
 */
export function removeFifosIfGone(thread: PeerEndpoint): void {
  const [life, bell] = [thread.pathOf('alive'), thread.pathOf('wake')]
  if (life === undefined || bell === undefined) return
  removeIfGone(life, bell)
  if (USER_FOLDER.test(dirname(life))) removeFolder(dirname(life))
}

function pruneFolder(folder: string): void {
  for (const thread of threadsIn(folder)) removeThread(folder, thread)
}

/** Without the ending, as their FIFOs are called. */
function threadsIn(folder: string): string[] {
  const names = namesIn(folder).filter((fileName) => FIFO_NAME.test(fileName))
  return [...new Set(names.map((fileName) => fileName.slice(0, fileName.lastIndexOf('.'))))]
}

function removeThread(folder: string, thread: string): void {
  removeIfGone(join(folder, `${thread}.alive`), join(folder, `${thread}.wake`))
}

function removeIfGone(life: string, bell: string): void {
  // The life FIFO goes last: as long as it stands, it answers for both.
  removeIfUnheld(life, () => unlinkFifo(bell))
  if (!existsSync(life)) removeIfUnheld(bell)
}

/** With the lock that its thread would have: nobody makes it theirs between the proof and the removal. */
function removeIfUnheld(path: string, removeOthers?: () => void): void {
  passingOver(() => {
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW)
    try {
      if (!statDescriptor(fd).isFIFO() || !holdFifo(fd)) return
      removeOthers?.()
      unlinkFifo(path)
    } finally {
      closeSync(fd)
    }
  })
}

function namesIn(folder: string): string[] {
  return passingOver(() => readdirSync(folder)) ?? []
}

function isFolder(path: string): boolean {
  return passingOver(() => lstatSync(path, { bigint: true }).isDirectory()) === true
}

/** Undefined if the operating system says no, for whatever reason. */
function passingOver<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (isSystemError(error)) return undefined
    throw error
  }
}
