import { readFileSync, readlinkSync } from 'node:fs'

/** A flag of the kernel's sched.h: the process is exiting, and may have released its locks. */
const PF_EXITING = 0x4

/** Whether the kernel says that the process has not begun to exit. A stopped process is alive. */
export function isAlive(pid: number): boolean {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ESRCH') return false
    throw error
  }
  // After the name, which may contain any character: state, ppid, pgrp, session, tty, tpgid, flags.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return !['Z', 'X', 'x'].includes(fields[0]) && (Number(fields[6]) & PF_EXITING) === 0
}

/** The id of this process. In a copy, `process.pid` is the id of the process that was copied. */
export function ownPid(): number {
  return Number(readlinkSync('/proc/self'))
}
