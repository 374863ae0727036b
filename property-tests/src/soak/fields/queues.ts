import { type MpmcQueue, mpmcQueue } from '@isthmus/ring'
import { struct, words } from '@isthmus/sync'
import { Random } from '../../hostile/random.js'
import { beat, type Field, segmentField } from '../field.js'
import { type Delivery, LEDGER_WORDS, MARKS, QueueLedger, receivedIn } from '../queues/queue-ledger.js'
import { BLOCK_BYTES } from '../queues/queue-message.js'
import { QueueReceiver } from '../queues/queue-receiver.js'
import { QueueSender } from '../queues/queue-sender.js'

const BLOCKS = 24
const ROLES = 6
/** No message is given up, so none may be missing. */
const MAX_DELIVERIES = 10_000

/**
 * Three senders and three receivers of one queue. What was sent arrives whole; at most once, it is lost only with a killed receiver,
 * and at least once, it comes again only after one. In the end all blocks are free.
 */
export function queueField(delivery: Delivery): Field {
  const layout = struct({
    ledger: words(LEDGER_WORDS),
    queue: mpmcQueue({
      blocks: BLOCKS,
      blockBytes: BLOCK_BYTES,
      packLimit: 5,
      delivery,
      maxDeliveries: MAX_DELIVERIES,
    }),
    marks: words(MARKS),
  })
  return segmentField({
    name: `queues/${delivery}`,
    roles: ROLES,
    layout,
    ledgerWords: LEDGER_WORDS,
    rehearsal: [0, 1],
    begin({ ledger: counts, marks, queue }, { role, random, isRehearsal }) {
      const patience = isRehearsal === true ? { timeoutMs: 0 } : {}
      const ledger = new QueueLedger(counts, marks, delivery)
      const player =
        role % 2 === 0
          ? new QueueSender(queue, ledger, random, patience)
          : new QueueReceiver(queue, ledger, role, random, patience)
      return () => {
        if (player.step() > 0) beat(counts, role)
      }
    },
    audit({ ledger: counts, marks, queue }, isSwept) {
      const ledger = new QueueLedger(counts, marks, delivery)
      for (let role = 1; role < ROLES; role += 2) ledger.excusePredecessor(role)
      new QueueReceiver(queue, ledger, 1, new Random(1), { timeoutMs: 0 }).receiveRest()
      ledger.audit()
      assertFree(queue, isSwept)
    },
    steps: (ledger) => receivedIn((index) => ledger.word(index)),
  })
}

/** All blocks are free and usable, and nobody is registered as waiting. */
function assertFree(queue: MpmcQueue, isSwept: boolean): void {
  const { free, depth, givenUp, taken, waitingReceivers, waitingSenders } = queue.describe()
  if (free !== BLOCKS || depth !== 0) throw new Error(`${free} of ${BLOCKS} blocks are free: ${JSON.stringify(taken)}`)
  if (givenUp !== 0) throw new Error(`${givenUp} messages were given up`)
  if (isSwept && waitingReceivers.length + waitingSenders.length > 0) throw new Error('Dead peers are said to wait')
  const sender = queue.sender()
  const receiver = queue.receiver()
  for (let block = 0; block < BLOCKS; block++) {
    if (!sender.trySend(Uint8Array.of(block))) throw new Error(`Only ${block} of ${BLOCKS} blocks are found`)
  }
  for (let block = 0; block < BLOCKS; block++) {
    const message = receiver.receiveSync({ timeoutMs: 0 })
    if (message?.[0] !== block) throw new Error(`Message ${message} came instead of ${block}`)
  }
  receiver.acknowledge()
  receiver.close()
}

export const queueFields: readonly Field[] = [queueField('at-most-once'), queueField('at-least-once')]
