import { readdirSync } from 'node:fs'
import { IsthmusError } from '@isthmus/sync'
import { explained, MORE_DESCRIPTORS } from '../native/explanation.js'
import { hasCode, isSystemError } from '../native/system-error.js'

/** What this process, or the machine, has run out of: says nothing about the file at hand. */
const SHORTAGES = ['EMFILE', 'ENFILE', 'ENOMEM']

/**
 * For those who go through the files of a directory, whose names nobody has chosen for this call: whether an error is about
 * this one file. Then the file is passed over, whatever it is and whatever the system says of it: somebody else's, in use,
 * a running program, damaged, just removed, just cut. Otherwise, nothing could be said of the next file either.
 */
export function isAboutThisFile(error: unknown): boolean {
  if (error instanceof IsthmusError) return true
  // Of Node.js's permission model, which may allow one file and not the next.
  if (hasCode(error, 'ERR_ACCESS_DENIED')) return true
  return isSystemError(error) && !hasCode(error, ...SHORTAGES)
}

/**
 * The names of a directory that are text. Read as text, a name that is no UTF-8 would become another one, perhaps that of
 * another file.
 * @throws SystemCallError where the directory cannot be read
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
    throw explained(error, `looking into ${directory}: ${advice}`)
  }
  return names.flatMap((bytes) => {
    const name = bytes.toString()
    return Buffer.from(name).equals(bytes) ? [name] : []
  })
}
