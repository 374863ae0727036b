import { Segment } from 'isthmus'
import { account } from './account.js'

const DEPOSITS = 10_000

using segment = Segment.open(process.argv[2], account)
const { lock, balance } = segment.root

for (let deposit = 0; deposit < DEPOSITS; deposit++) {
  using guard = await lock.lock()
  // Another teller was killed while it held the lock. A balance is one number: there is nothing to repair.
  if (guard.ownerDied) guard.markConsistent()
  balance.value += 1
}
