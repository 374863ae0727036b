import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Segment } from '@isthmus/shm-posix'
import { account, name, TELLERS } from './account.js'

const segment = Segment.create(name, account)
try {
  const member = segment.root.closing.join()
  for (let teller = 0; teller < TELLERS; teller++) fork(fileURLToPath(new URL('./teller.js', import.meta.url)))
  await member.wait()
  console.log(`balance: ${segment.root.balance.value}`)
} finally {
  segment.close()
  Segment.unlink(name)
}
