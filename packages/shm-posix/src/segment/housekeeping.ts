import { readdirSync } from 'node:fs'
import { IsthmusError } from '@isthmus/sync'
import { explained, MORE_DESCRIPTORS } from '../native/explanation.js'
import { hasCode, isSystemError } from '../native/system-error.js'

/** This process, or the machine, has run out of something: that says nothing about the file at hand. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOMEM']

/**
 * Whether an error is about one file. A call that goes through all files of a directory passes over such a file, since the
 * program has not chosen its name: it may belong to another user, be in use, a running program, damaged, just removed, just
 * cut. Any other error would come with the next file, too.
 */
export function isAboutThisFile(error: unknown): boolean {
  if (error instanceof IsthmusError) return true
  // Node.js's permission model may allow one file and not the next.
  if (hasCode(error, 'ERR_ACCESS_DENIED')) return true
  return isSystemError(error) && !hasCode(error, ...SHORTAGES)
}

/**
 * The names in a directory that are UTF-8. Any other name would, decoded as text, become a different name, perhaps that of
 * another file.
 * @throws SystemCallError if the directory cannot be read
 */
export function fileNamesIn(directory: string): string[] {
  let names: Buffer[]
  try {
    names = readdirSync(directory, 'buffer')
  } catch (error) {
    const advice = hasCode(error, ...SHORTAGES)
      ? MORE_DESCRIPTORS
      : hasCode(error, 'ENOENT', 'ENOTDIR')
        ? 'there is no such directory. Mount a tmpfs there.'
        : 'it cannot be read. Allow this user to read it.'
    throw explained(error, `reading ${directory}: ${advice}`)
  }
  return names.flatMap((bytes) => {
    const name = bytes.toString()
    return Buffer.from(name).equals(bytes) ? [name] : []
  })
}
