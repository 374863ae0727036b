import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Field } from './field.js'
import { removeAll } from './leftovers.js'

/**
 * Plays a field in the forking process, before the first round. Its copies then have the code compiled, and are at work
 * in a quarter of the time. It is the only time that this process attaches, and must leave nothing that copies would
 * inherit.
 */
export function rehearse(field: Field, name: string): void {
  try {
    field.rehearse(name)
  } finally {
    removeAll(name)
  }
  const mappings = readFileSync('/proc/self/maps', 'latin1').split('\n')
  const descriptors = readdirSync('/proc/self/fd').map(targetOfDescriptor)
  const held = [...mappings, ...descriptors].filter((text) => text.includes('/dev/shm'))
  if (held.length > 0) throw new Error(`After the rehearsal of ${field.name} this process still has ${held.join(', ')}`)
}

/** The target of a descriptor; '' for the one through which the list was read, which is closed by now. */
function targetOfDescriptor(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
