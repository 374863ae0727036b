import { readFileSync, readlinkSync } from 'node:fs'

/** From the kernel's sched.h: it is on its way out, and may have let go of its locks. */
const PF_EXITING = 0x4

/** What the kernel says: whether this process has not begun to end. A stopped one lives. */
export function isAlive(pid: number): boolean {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return false
    throw error
  }
  // Behind the name, which may contain anything: state, ppid, pgrp, session, tty, tpgid, flags.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return !['Z', 'X', 'x'].includes(fields[0]) && (Number(fields[6]) & PF_EXITING) === 0
}

/** Of this process, which may be a copy: Node.js would name the one that it was copied from. */
export function ownPid(): number {
  return Number(readlinkSync('/proc/self'))
}
