import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'

const prefix = `isthmus-shm-test-${process.pid}-${threadId}-`
const directories: string[] = []
let count = 0

/** A name that no other test uses. */
export function uniqueName(): string {
  count++
  return `/${prefix}${count}`
}

/** Where the segment of that name is. */
export function pathOf(name: string): string {
  return `/dev/shm${name}`
}

/** A new directory on a file system that is not memory, where there is one. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-shm-test-'))
  directories.push(directory)
  return directory
}

/**
 * What begins the names of this process's tests: nothing else in /dev/shm must be pruned by a test, since it may be
 * somebody's data.
 */
export const NAME_PREFIX = `/${prefix}`

/** The names of this process's tests that are taken now. */
export function takenNames(): string[] {
  return readdirSync('/dev/shm')
    .filter((fileName) => fileName.startsWith(prefix))
    .map((fileName) => `/${fileName}`)
}

/** To be called after each test. */
export function removeEverything(): void {
  for (const name of takenNames()) rmSync(pathOf(name), { force: true, recursive: true })
  for (const directory of directories.splice(0)) rmSync(directory, { force: true, recursive: true })
}
