import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { nowMs } from '@isthmus/sync/internal'
import { isSystemError } from '../native/system-error.js'
import type { FifoKind } from './fifo-place.js'

/**
 * Ways to a FIFO without its name: the descriptors that its process has of it, below /proc. They lead to it also if the
 * name was deleted, or stands in a file system that this process does not see. Both processes have to be in one PID
 * namespace, with the rights of one user. The link of a descriptor still shows the FIFO's name, a random number, so no
 * other file is mistaken for it, whatever process id stands in the slot.
 */
export function* descriptorsOf(pid: number, thread: string, kind: FifoKind): Generator<string> {
  const folder = `/proc/${pid}/fd`
  for (const descriptor of entriesOf(folder)) {
    const path = `${folder}/${descriptor}`
    // Checked before it is opened: a hostile process may have given the name to a device.
    if (isNamed(path, `${thread}.${kind}`) && isFifo(path)) yield path
  }
}

const SEARCH_AGAIN_MS = 1000
const SEARCHES_MAX = 256

/** Limits searches, which take a system call for each descriptor of a process: a vain one is not repeated for a second. */
export class SearchLimit {
  /** When a search was in vain, the oldest first. */
  readonly #vainMs = new Map<string, number>()

  isDue(key: string): boolean {
    const vainMs = this.#vainMs.get(key)
    return vainMs === undefined || nowMs() - vainMs >= SEARCH_AGAIN_MS
  }

  noteVain(key: string): void {
    this.#vainMs.delete(key)
    if (this.#vainMs.size === SEARCHES_MAX) {
      const [oldest] = this.#vainMs.keys()
      this.#vainMs.delete(oldest)
    }
    this.#vainMs.set(key, nowMs())
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (isSystemError(error)) return []
    throw error
  }
}

function isNamed(path: string, fileName: string): boolean {
  try {
    const link = readlinkSync(path)
    const [name = ''] = link.slice(link.lastIndexOf('/') + 1).split(' ', 1)
    return name === fileName || name.replace(/^\.?isthmus-/, '') === fileName
  } catch (error) {
    // The descriptor was closed meanwhile.
    if (isSystemError(error)) return false
    throw error
  }
}

function isFifo(path: string): boolean {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.isFIFO() === true
}
