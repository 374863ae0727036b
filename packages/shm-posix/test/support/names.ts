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

/** The path of the segment with this name. */
export function pathOf(name: string): string {
  return `/dev/shm${name}`
}

/** A new directory, if possible on a file system that is not memory. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-shm-test-'))
  directories.push(directory)
  return directory
}

/** Names of this process's tests begin like this. A test must prune nothing else in /dev/shm: it may be a program's data. */
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
