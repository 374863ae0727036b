import { randomBytes } from 'node:crypto'
import { basename, dirname, resolve } from 'node:path'
import { inspect } from 'node:util'
import { IsthmusTypeError } from '@isthmus/sync'
import { explained } from '../native/explanation.js'
import { SHARED_MEMORY_DIRECTORY } from '../native/shared-memory-directory.js'
import { FIFO_NAME, FOLDER_NAME } from '../thread/fifo-place.js'

/**
 * A segment in a file that the program chooses, so that it survives a reboot. Its blocks are reserved when it is made; file
 * systems that copy on write, snapshots and thin volumes need new ones later. See the README.
 */
export interface SegmentFile {
  /** Its path. */
  readonly file: string
}

/** Where a segment is in the file system. */
export interface Location {
  readonly path: string
  /** Where a new segment is made before it gets its name. */
  readonly directory: string
  /** How error messages name it. */
  readonly subject: string
  /** Whether it is a file that the program has chosen, and not memory. */
  readonly isFile: boolean
}

const NAME_BYTES_MAX = 255
/** In a file name, each lone surrogate would become the same character (U+FFFD), and several names would mean one file. */
const LONE_SURROGATE = /\p{Surrogate}/u
const WITHOUT_UTF_8 = 'contains half of a surrogate pair, which no file name can hold'
const UNFINISHED = 'looks like the name of an unfinished segment'

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_NAME`, `ERR_ISTHMUS_INVALID_ARGUMENT` */
export function locate(where: string | SegmentFile): Location {
  if (typeof where === 'string') return locateName(where)
  const file = where?.file
  if (typeof file !== 'string' || file === '' || file.includes('\0')) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Locating a segment: got ${inspect(where)}. Give a name such as '/orders', or { file: path }.`,
    )
  }
  const path = absolute(file)
  const fileName = basename(path)
  const problem = LONE_SURROGATE.test(path) ? WITHOUT_UTF_8 : UNFINISHED_NAME.test(fileName) ? UNFINISHED : undefined
  if (problem === undefined)
    return { path, directory: dirname(path), subject: `the segment file ${path}`, isFile: true }
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_NAME',
    `Locating a segment: the file ${JSON.stringify(file)} ${problem}. Give another path.`,
  )
}

function absolute(file: string): string {
  try {
    return resolve(file)
  } catch (error) {
    throw explained(
      error,
      `locating the segment file ${file}: the working directory of this process is gone. Give an absolute path.`,
    )
  }
}

function locateName(name: string): Location {
  const problem = problemOfName(name)
  if (problem !== undefined) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_NAME',
      `Locating a segment: the name ${JSON.stringify(name)} ${problem}. Give a slash and a plain file name, such as '/orders'.`,
    )
  }
  const path = `${SHARED_MEMORY_DIRECTORY}${name}`
  return { path, directory: SHARED_MEMORY_DIRECTORY, subject: `the segment ${name}`, isFile: false }
}

function problemOfName(name: string): string | undefined {
  if (!name.startsWith('/')) return 'does not begin with a slash'
  const fileName = name.slice(1)
  if (fileName === '' || fileName === '.' || fileName === '..') return 'has no file name after its slash'
  if (fileName.includes('/')) return 'has a second slash'
  if (fileName.includes('\0')) return 'contains a NUL character'
  if (LONE_SURROGATE.test(fileName)) return WITHOUT_UTF_8
  if (UNFINISHED_NAME.test(fileName)) return UNFINISHED
  if (FOLDER_NAME.test(fileName)) return 'looks like the name of a folder of FIFOs'
  if (FIFO_NAME.test(fileName)) return "looks like the name of a thread's FIFO"
  const byteLength = Buffer.byteLength(fileName)
  if (byteLength > NAME_BYTES_MAX) return `has ${byteLength} bytes after its slash, more than ${NAME_BYTES_MAX}`
  return undefined
}

/** The location of a name that was found in /dev/shm; undefined if no segment can have that name. */
export function locateExisting(name: string): Location | undefined {
  return problemOfName(name) === undefined ? locateName(name) : undefined
}

/** The name under which a segment is made if its file system has no files without a name. */
export function unfinishedName(): string {
  return `.isthmus-${randomBytes(8).toString('hex')}.unfinished`
}

export const UNFINISHED_NAME = /^\.isthmus-[0-9a-f]{16}\.unfinished$/
