import { readdirSync, rmSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { Segment } from '@isthmus/shm-posix'
import { pruneFifos } from '../../../packages/shm-posix/src/thread/fifo-removal.js'

const prefix = `isthmus-test-${process.pid}-${threadId}-`
let count = 0

/** A name that no other test uses. */
export function uniqueName(): string {
  count++
  return `/${prefix}${count}`
}

/**
 * Removes the segments that tests of this process left under such names, and the FIFOs of all agents that were killed.
 */
export function removeTestSegments(): void {
  pruneFifos()
  for (const fileName of readdirSync('/dev/shm')) {
    if (fileName.startsWith(prefix)) rmSync(`/dev/shm/${fileName}`, { force: true, recursive: true })
  }
}

/** The names of segments that tests of this process have made and that exist now. */
export function testSegmentNames(): string[] {
  return Segment.list()
    .map(({ name }) => name)
    .filter((name) => name.startsWith(`/${prefix}`))
}
