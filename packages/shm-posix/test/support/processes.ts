import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

/**
 * How often this process has a file mapped. Counted by inode: a file that was mapped before it had a name is shown as
 * deleted from then on.
 */
export function mappingsOf(path: string): number {
  const { ino } = statSync(path)
  return sharedMappings().filter((line) => line.split(/\s+/)[4] === String(ino)).length
}

/** How often this process has a file open. */
export function descriptorsOf(path: string): number {
  const { ino, dev } = statSync(path)
  return readdirSync('/proc/self/fd').filter((fd) => {
    const open = statSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false })
    return open?.ino === ino && open.dev === dev
  }).length
}

/** How many descriptors and mappings of files below a directory this process has, those without a name included. */
export function holdingsUnder(directory: string): { descriptors: number; mappings: number } {
  const mappings = sharedMappings().filter((line) => line.includes(` ${directory}/`)).length
  const descriptors = readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${directory}/`)
    } catch {
      // The descriptor through which the directory was read.
      return false
    }
  }).length
  return { descriptors, mappings }
}

/** The segments and FIFOs in shared memory that this process has open. */
export function openDescriptors(): string[] {
  const links: string[] = []
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      links.push(readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      // The descriptor through which the directory was read.
    }
  }
  return links.filter((link) => link.startsWith('/dev/shm/') || link.startsWith('/memfd:')).sort()
}

function sharedMappings(): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(' rw-s '))
}
