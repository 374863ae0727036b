import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Segment } from '@isthmus/shm-posix'
import { unlinkMessageQueues } from './message-queue.js'

/** Names that belong to one run. */
export interface Place {
  /** The names of segments and message queues begin with this. */
  readonly segmentPrefix: string
  /** A folder for files and sockets. */
  readonly directory: string
}

export const SHARED_MEMORY = '/dev/shm'

let placeCount = 0

/** Gives the action a place of its own. What the action leaves there is removed, however it ends. */
export async function inPlace<T>(action: (place: Place) => Promise<T>): Promise<T> {
  const segmentPrefix = `/isthmus-bench-${process.pid}-${placeCount++}-`
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'))
  try {
    return await action({ segmentPrefix, directory })
  } finally {
    rmSync(directory, { recursive: true })
    for (const { name } of Segment.list()) {
      if (name.startsWith(segmentPrefix)) Segment.unlink(name)
    }
    // Files that other libraries made.
    for (const name of readdirSync(SHARED_MEMORY)) {
      if (`/${name}`.startsWith(segmentPrefix)) rmSync(join(SHARED_MEMORY, name))
    }
    unlinkMessageQueues(segmentPrefix)
  }
}
