import { Segment } from '@isthmus/shm-posix'
import { account, DEPOSITS, name } from './account.js'

using segment = Segment.open(name, account)
const { lock, balance, closing } = segment.root
using member = closing.join()

for (let deposit = 0; deposit < DEPOSITS; deposit++) {
  using guard = await lock.lock()
  // Another teller was killed with the lock in its hand. A balance is one number: there is nothing to repair.
  if (guard.ownerDied) guard.markConsistent()
  balance.value += 1
}
await member.wait()
