import { spawnSync } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import { futex } from '@isthmus/sync'
import { expect, it } from 'vitest'

it('a program that is started while its parent waits on its event loop inherits no descriptor of isthmus', async () => {
  using segment = Segment.createAnonymous(futex())
  using other = Segment.attach(segment.handle, futex())
  const waiting = segment.root.waitWhile(0)
  // Once the wait sleeps, its wake-up FIFO is open.
  await expect.poll(ownDescriptors).toContainEqual(expect.stringMatching(/isthmus-.*\.wake$/))
  const { stdout } = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' })
  expect(stdout).toContain('/proc')
  expect(stdout).not.toMatch(/isthmus/)
  other.root.value = 1
  other.root.notifyAll()
  expect(await waiting).toBe(true)
})

/** The targets of the descriptors. The one through which the list is read is closed by then. */
function ownDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      return []
    }
  })
}
