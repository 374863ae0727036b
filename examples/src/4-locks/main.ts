import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { account } from './account.js'

const TELLERS = 2
const name = `/isthmus-example-account-${process.pid}`
const segment = Segment.create(name, account)
try {
  const program = fileURLToPath(new URL('./teller.js', import.meta.url))
  const tellers = Array.from({ length: TELLERS }, () => fork(program, [name]))
  await Promise.all(tellers.map((teller) => once(teller, 'exit')))
  console.log(`balance: ${segment.root.balance.value}`)
} finally {
  segment.close()
  Segment.unlink(name)
}
