import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { nowMs } from '@isthmus/sync/internal'
import { isSystemError } from '../native/system-error.js'
import type { FifoKind } from './fifo-place.js'

/**
 * Ways to a FIFO without its name: through the descriptors that its process has of it. They lead to it also if the name
 * was deleted, or stands in a file system that this process does not see. It takes the same PID namespace, and the rights
 * of the same user. The name of the FIFO, a random number, says that it is the right one, whatever stands in the slot.
 */
export function* descriptorsOf(pid: number, thread: string, kind: FifoKind): Generator<string> {
  const folder = `/proc/${pid}/fd`
  for (const descriptor of entriesOf(folder)) {
    const path = `${folder}/${descriptor}`
    // Looked at before it is opened: what a hostile process gives such a name may be a device.
    if (isNamed(path, `${thread}.${kind}`) && isFifo(path)) yield path
  }
}

const SEARCH_AGAIN_MS = 1000
const SEARCHES_MAX = 256

/** Searches take a system call for each descriptor of a process. One in vain is not repeated for a second. */
export class SearchLimit {
  /** The oldest stands first. */
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
    // Closed meanwhile.
    if (isSystemError(error)) return false
    throw error
  }
}

function isFifo(path: string): boolean {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.isFIFO() === true
}
