import { closeSync, constants, existsSync, lstatSync, opendirSync, openSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { statDescriptor } from '../native/descriptor-stat.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { isSystemError } from '../native/system-error.js'
import { holdFifo, unlinkFifo } from './fifo.js'
import { FIFO_NAME, type FifoPlace, FOLDER_NAME, removeFolder } from './fifo-place.js'
import type { PeerEndpoint } from './peer-endpoint.js'

/**
 * Removes the FIFOs of threads that were killed. For each thread: (1) open its liveness FIFO, and take the lock that the
 * thread would have, which proves that the thread is gone; (2) remove the wake FIFO; (3) remove the liveness FIFO, which
 * answers for both as long as it stands; (4) if there was no liveness FIFO, take the lock of the wake FIFO and remove that.
 * A remover that is killed in between leaves FIFOs that the next one removes.
 *
 * All of this is housekeeping on files whose names the program has not chosen. If the operating system refuses one of
 * them, for whatever reason, the file is passed over.
 */
const USER_FOLDER = /\/\.?isthmus-\d+$/

/** How many names a newcomer reads at once, and the most it reads. */
const NAMES_READ = 16
const NAMES_READ_MAX = 8 * NAMES_READ
/** How many threads a newcomer checks: more than the one that it would leave behind. */
const THREADS_CHECKED = 2

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

/**
 * Checks a few FIFOs. Every thread does so when it attaches, so the FIFOs of threads that were killed between the making of
 * their FIFOs and the claim of a slot do not pile up, and none pays for a crowd: a newcomer reads at most NAMES_READ_MAX
 * names, at random among those that the system names first, which are the newest with most kernels. What stands behind
 * them stays until its slot is swept, or until `Segment.prune`, or until those before it are gone.
 */
export function pruneSomeFifos(place: FifoPlace): void {
  if (place.folder === undefined || place.isNew) return
  const threads = threadsOf(someNamesIn(place.folder))
  const first = Math.floor(Math.random() * threads.length)
  for (let step = 0; step < Math.min(THREADS_CHECKED, threads.length); step++) {
    removeThread(place.folder, threads[(first + step) % threads.length])
  }
}

/**
 * Removes the FIFOs of one thread if it is proven gone. A peer slot may look dead while its thread lives: a segment that
 * the program has forgotten loses its locks, and its thread loses nothing else.
 */
export function removeFifosIfGone(thread: PeerEndpoint): void {
  const [alive, wake] = [thread.pathOf('alive'), thread.pathOf('wake')]
  if (alive === undefined || wake === undefined) return
  removeIfGone(alive, wake)
  if (USER_FOLDER.test(dirname(alive))) removeFolder(dirname(alive))
}

function pruneFolder(folder: string): void {
  for (const thread of threadsOf(namesIn(folder))) removeThread(folder, thread)
}

/** The names of the FIFOs among these, without their endings. */
function threadsOf(names: readonly string[]): string[] {
  const fifoNames = names.filter((fileName) => FIFO_NAME.test(fileName))
  return [...new Set(fifoNames.map((fileName) => fileName.slice(0, fileName.lastIndexOf('.'))))]
}

function removeThread(folder: string, thread: string): void {
  removeIfGone(join(folder, `${thread}.alive`), join(folder, `${thread}.wake`))
}

function removeIfGone(alive: string, wake: string): void {
  // Most threads have no wake FIFO. To ask costs less than the error of a call that finds none.
  removeIfUnheld(alive, () => existsSync(wake) && unlinkFifo(wake))
  if (!existsSync(alive) && existsSync(wake)) removeIfUnheld(wake)
}

/** Keeps the lock until the name is gone: otherwise a new thread could take the FIFO between the proof and the removal. */
function removeIfUnheld(path: string, removeOthers?: () => unknown): void {
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

/** NAMES_READ names, fewer if there are fewer, from a random place among the first NAMES_READ_MAX. */
function someNamesIn(folder: string): string[] {
  const names: string[] = []
  passingOver(() => {
    const directory = opendirSync(folder, { bufferSize: NAMES_READ })
    try {
      const end = NAMES_READ * Math.ceil(Math.random() * (NAMES_READ_MAX / NAMES_READ))
      for (let count = 0; count < end; count++) {
        const entry = directory.readSync()
        if (entry === null) break
        names.push(entry.name)
      }
    } finally {
      directory.closeSync()
    }
  })
  return names.slice(-NAMES_READ)
}

function isFolder(path: string): boolean {
  return passingOver(() => lstatSync(path, { bigint: true }).isDirectory()) === true
}

/** Undefined if the operating system refuses the action, for whatever reason. */
function passingOver<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    if (isSystemError(error)) return undefined
    throw error
  }
}
