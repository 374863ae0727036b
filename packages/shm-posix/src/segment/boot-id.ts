import { readFileSync } from 'node:fs'

let bootId: string | undefined

/** What the kernel calls the time since the machine was started: 32 hexadecimal digits. */
export function currentBootId(): string {
  bootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim().replaceAll('-', '')
  return bootId
}
