import { readFileSync } from 'node:fs'
import { BOOT_ID_WORD } from '@isthmus/sync/internal'
import { unsupported } from '../native/support.js'
import { hasCode, isSystemError } from '../native/system-error.js'

const PATH = '/proc/sys/kernel/random/boot_id'
const BOOT_ID = /^[0-9a-f]{32}$/
const BOOT_ID_WORDS = 4

let bootId: string | undefined

/**
 * The kernel's id for the time since the machine was started: 32 hexadecimal digits. Only segment files need it.
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED`
 */
export function currentBootId(): string {
  bootId ??= readBootId()
  return bootId
}

/** For the header of a segment in memory, which only notes it: not every system has one. */
export function bootIdIfKnown(): string | undefined {
  try {
    return currentBootId()
  } catch (error) {
    if (hasCode(error, 'ERR_ISTHMUS_UNSUPPORTED', 'ERR_ACCESS_DENIED')) return undefined
    throw error
  }
}

/** The boot id in a region's header. */
export function bootIdIn(words: Int32Array): string {
  return Buffer.from(words.slice(BOOT_ID_WORD, BOOT_ID_WORD + BOOT_ID_WORDS).buffer).toString('hex')
}

export function writeBootId(words: Int32Array, bootId: string): void {
  words.set(new Int32Array(new Uint8Array(Buffer.from(bootId, 'hex')).buffer), BOOT_ID_WORD)
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
  if (!BOOT_ID.test(digits)) throw noBootId(`${PATH} contains ${JSON.stringify(text.slice(0, 40))}`)
  return digits
}

function noBootId(found: string, cause?: unknown): Error {
  return unsupported(
    `${found}. Without a boot id it is unknown whether a segment file was written before a restart of the machine. Mount the whole /proc (not subset=pid), or use a segment in memory`,
    cause,
  )
}
