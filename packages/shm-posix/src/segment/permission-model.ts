import { IsthmusError } from '@isthmus/sync'
import { hasCode } from '../native/system-error.js'

/**
 * Runs an action that uses files. If Node.js's permission model forbids something, the error says which flags are missing.
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED` instead of `ERR_ACCESS_DENIED`
 */
export function explainingDenials<R>(attempt: string, action: () => R): R {
  try {
    return action()
  } catch (error) {
    if (!hasCode(error, 'ERR_ACCESS_DENIED')) throw error
    const { permission, resource, message } = error as Error & { permission?: string; resource?: string }
    const denied = permission ? `${permission} of ${resource || 'a file'}` : message
    throw new IsthmusError(
      'ERR_ISTHMUS_UNSUPPORTED',
      `${attempt}: Node.js's permission model denies this (${denied}). Segments need --allow-addons, and --allow-fs-read and --allow-fs-write for /dev/shm/*, /dev/null, /proc/* and the directory of a segment file.`,
      { cause: error },
    )
  }
}
