import { constants, openSync } from 'node:fs'
import { IsthmusError, IsthmusTypeError } from '@isthmus/sync'
import type { HeaderFacts } from '@isthmus/sync/internal'
import { explained } from '../native/explanation.js'
import { hasCode } from '../native/system-error.js'
import { readFacts } from './segment-file.js'

/** What another thread of this process needs to attach: to be sent with `postMessage` or `workerData`. */
export interface SegmentHandle {
  readonly isthmus: 'segment'
  readonly pid: number
  readonly path: string
  readonly segmentId: string
  readonly subject: string
  /** The directory of a segment file, where its peers find each other. */
  readonly directory: string
  readonly isFile: boolean
}

const FLAGS = constants.O_RDWR | constants.O_NONBLOCK

/** @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` */
export function assertHandle(handle: SegmentHandle): void {
  const isHandle =
    handle?.isthmus === 'segment' &&
    handle.pid === process.pid &&
    typeof handle.path === 'string' &&
    typeof handle.directory === 'string'
  if (isHandle) return
  throw new IsthmusTypeError(
    'ERR_ISTHMUS_INVALID_ARGUMENT',
    'Attaching to a segment: this is not the handle of a segment of this process. Between processes, use its name.',
  )
}

/** Opens the file of a handle once more. */
export function openHandle(handle: SegmentHandle): number {
  try {
    return openSync(handle.path, FLAGS)
  } catch (error) {
    if (!hasCode(error, 'EMFILE', 'ENFILE', 'EACCES', 'ERR_ACCESS_DENIED')) throw closedError(handle, error)
    throw explained(
      error,
      `Attaching to ${handle.subject}: its file cannot be opened once more. Allow more descriptors (ulimit -n). If the process has changed its user, or the mode of the file was changed, attach before that.`,
    )
  }
}

/**
 * Reads the header of the file that openHandle has opened.
 * @throws IsthmusError `ERR_ISTHMUS_CLOSED` if it is another file: the descriptor's number was given out again
 */
export function readFactsOf(handle: SegmentHandle, fd: number): HeaderFacts {
  let facts: HeaderFacts
  try {
    facts = readFacts(fd, handle.subject)
  } catch (error) {
    throw closedError(handle, error)
  }
  if (facts.regionId !== handle.segmentId) throw closedError(handle)
  return facts
}

function closedError({ subject }: SegmentHandle, cause?: unknown): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_CLOSED',
    `Attaching to ${subject}: the attachment that gave this handle is closed. Close it after the others have attached.`,
    { cause },
  )
}
