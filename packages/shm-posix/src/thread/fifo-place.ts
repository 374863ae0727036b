import { chmodSync, lstatSync, mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import type { LoopAddress } from '@isthmus/sync/internal'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { EPERM, hasCode, isSystemError, SystemCallError } from '../native/system-error.js'

export type FifoKind = 'alive' | 'wake'

/**
 * Where the FIFOs of a thread stand. The threads of a user share a folder of their own: no other user can put a file under
 * their names, and a search through it finds nothing of other users.
 *
 * | place   | folder                              | for                                                                |
 * |---------|-------------------------------------|--------------------------------------------------------------------|
 * | MEMORY  | `/dev/shm/isthmus-<uid>`            | segments in memory                                                 |
 * | TEMP    | `/tmp/isthmus-<uid>`                | all segments, if this user can have no files in the other place    |
 * | BESIDE  | `.isthmus-<uid>`, beside the file   | segment files: two containers may share a file and not a /dev/shm  |
 *
 * The place word of a peer slot (see sync/peers/layout.ts) is one of these numbers, with FLAT if the FIFOs stand in no
 * folder, because another user has put something under its name. 0 says that there are no FIFOs.
 *
 * The folder is for its user alone (0700) until one of the user's threads attaches to a segment that other users may use
 * (0711). Those users open a FIFO by its name, a random number that stands in the segment. The last thread that leaves
 * removes the folder.
 */
export const MEMORY = 1
export const TEMP = 2
export const BESIDE = 3
const FLAT = 1 << 4

export type PlaceKind = typeof MEMORY | typeof TEMP | typeof BESIDE

const PRIVATE = 0o700
const PASSABLE = 0o711
const ATTEMPTS_MAX = 100

/** What a segment contributes to the paths of its peers' FIFOs. */
export interface SegmentPlace {
  /** The directory of a segment file. */
  readonly directory: string
  readonly isFile: boolean
}

/** The places that a thread tries, in this order. */
export function placesFor({ isFile, directory }: SegmentPlace): readonly PlaceKind[] {
  return isFile && directory !== '' ? [BESIDE, MEMORY, TEMP] : [MEMORY, TEMP]
}

export class FifoPlace {
  readonly address: LoopAddress
  /** Holds the FIFOs of all threads of this user; undefined if they stand in no folder. */
  readonly folder: string | undefined
  /** Whether the folder was made by this call: then there were no FIFOs in it. */
  readonly isNew: boolean
  readonly #segment: SegmentPlace
  #isPassable: boolean

  private constructor(
    address: LoopAddress,
    folder: string | undefined,
    isNew: boolean,
    segment: SegmentPlace,
    isPassable: boolean,
  ) {
    this.address = address
    this.folder = folder
    this.isNew = isNew
    this.#segment = segment
    this.#isPassable = isPassable
  }

  /**
   * Makes the folder if it does not exist.
   * @param isPassable whether other users have to reach the FIFOs
   * @throws the error of Node.js if this user can have no folder there
   */
  static open(kind: PlaceKind, segment: SegmentPlace, isPassable: boolean): FifoPlace {
    const uid = process.geteuid?.() ?? 0
    const folder = folderPath(kind, segment, uid)
    const found = ensureFolder(folder, isPassable)
    const address = found === 'taken' ? { place: kind | FLAT, uid } : { place: kind, uid }
    return new FifoPlace(address, found === 'taken' ? undefined : folder, found === 'made', segment, isPassable)
  }

  pathOf(thread: string, kind: FifoKind): string {
    return fifoPath(this.address, this.#segment, thread, kind)
  }

  /** Lets other users reach the FIFOs from now on. */
  letOthersPass(): void {
    this.#isPassable = true
    this.restore()
  }

  /**
   * Makes the folder again if it was removed.
   * @throws SystemCallError if another user has taken its name meanwhile
   */
  restore(): void {
    if (this.folder === undefined || ensureFolder(this.folder, this.#isPassable) !== 'taken') return
    throw new SystemCallError(
      { errno: EPERM, syscall: 'mkdir', path: this.folder },
      `making ${this.folder} anew, which was removed: another user has put something under its name. Remove that.`,
    )
  }

  /** Removes the folder, unless there are FIFOs of other threads in it. */
  leave(): void {
    if (this.folder !== undefined) removeFolder(this.folder)
  }
}

/** The path of a FIFO of the thread that a peer slot names; undefined if the slot names no place. The numbers are checked. */
export function pathAt(
  address: LoopAddress,
  segment: SegmentPlace,
  thread: string,
  kind: FifoKind,
): string | undefined {
  const placeKind = address.place & ~FLAT
  const isKnown = placeKind === MEMORY || placeKind === TEMP || (placeKind === BESIDE && segment.directory !== '')
  return isKnown ? fifoPath(address, segment, thread, kind) : undefined
}

/** The name of a user's folder in /dev/shm. */
export const FOLDER_NAME = /^isthmus-\d+$/
/** The name of a FIFO: in a folder, or without one. */
export const FIFO_NAME = /^(?:\.?isthmus-)?([0-9a-f]{16})\.(?:alive|wake)$/

/** Does nothing if the folder is gone already, has FIFOs in it, or is not ours any more. */
export function removeFolder(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!isSystemError(error)) throw error
  }
}

function directoryOf(kind: number, segment: SegmentPlace): string {
  if (kind === BESIDE) return segment.directory
  return kind === TEMP ? '/tmp' : SHARED_MEMORY_DIRECTORY
}

/** Hidden beside the files of a program. */
function prefixOf(kind: number): string {
  return kind === BESIDE ? '.isthmus-' : 'isthmus-'
}

function folderPath(kind: number, segment: SegmentPlace, uid: number): string {
  return join(directoryOf(kind, segment), `${prefixOf(kind)}${uid >>> 0}`)
}

function fifoPath({ place, uid }: LoopAddress, segment: SegmentPlace, thread: string, fifo: FifoKind): string {
  const kind = place & ~FLAT
  if (place === kind) return join(folderPath(kind, segment, uid), `${thread}.${fifo}`)
  return join(directoryOf(kind, segment), `${prefixOf(kind)}${thread}.${fifo}`)
}

/** `taken` if another user has put something under the name. That is left as it is. */
function ensureFolder(path: string, isPassable: boolean): 'made' | 'found' | 'taken' {
  let isMade = false
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stat !== undefined) {
      if (!stat.isDirectory() || Number(stat.uid) !== process.geteuid?.()) return 'taken'
      const wanted = isPassable || (stat.mode & 0o011n) !== 0n ? PASSABLE : PRIVATE
      // The umask of this process, or of an earlier one, may have taken rights away; and no other user may write there.
      if (Number(stat.mode & 0o7777n) !== wanted && !tryMode(path, wanted)) continue
      return isMade ? 'made' : 'found'
    }
    try {
      mkdirSync(path, isPassable ? PASSABLE : PRIVATE)
      isMade = true
    } catch (error) {
      // Another thread was quicker.
      if (!hasCode(error, 'EEXIST')) throw error
    }
  }
  return 'taken'
}

/** False if the folder was removed meanwhile. */
function tryMode(path: string, mode: number): boolean {
  try {
    chmodSync(path, mode)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}
