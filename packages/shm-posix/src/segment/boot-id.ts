import { readFileSync } from 'node:fs'
import { unsupported } from '../native/support.js'
import { hasCode, isSystemError } from '../native/system-error.js'

const PATH = '/proc/sys/kernel/random/boot_id'
const BOOT_ID = /^[0-9a-f]{32}$/

let bootId: string | undefined

/**
 * What the kernel calls the time since the machine was started: 32 hexadecimal digits. Only segment files need it.
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED`
 */
export function currentBootId(): string {
  bootId ??= readBootId()
  return bootId
}

/** For the header of a segment in memory, in which it is a note and nothing more: not every system has one. */
export function bootIdIfKnown(): string | undefined {
  try {
    return currentBootId()
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_UNSUPPORTED', 'ERR_ACCESS_DENIED')) return undefined
    throw error
  }
}

function readBootId(): string {
  let text: string
  try {
    text = readFileSync(PATH, 'latin1')
  } catch (cause) {
    if (!isSystemError(cause)) throw cause
    throw noBootId(`${PATH} cannot be read`, cause)
  }
  const digits = text.trim().replaceAll('-', '')
  if (!BOOT_ID.test(digits)) throw noBootId(`${PATH} holds ${JSON.stringify(text.slice(0, 40))}`)
  return digits
}

function noBootId(found: string, cause?: unknown): Error {
  return unsupported(
    `${found}, and without a boot id nobody can tell whether a segment file was written before a restart of the machine. Mount the whole /proc (not subset=pid), or use a segment in memory`,
    cause,
  )
}
