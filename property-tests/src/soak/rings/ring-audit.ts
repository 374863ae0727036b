import type { SpscRing } from '@isthmus/ring'
import { Random } from '../../hostile/random.js'
import { Receiver } from './receiver.js'
import { CONSUMER_COMING, PRODUCER_COMING, PRODUCER_THERE, RingLedger, TOLD_FOR_GOOD } from './ring-ledger.js'
import type { Series } from './ring-message.js'

/**
 * Receives what is left after all peers of a ring were killed, and compares it with what was sent. Throws what is
 * wrong.
 */
export function auditRing(spsc: SpscRing, words: Int32Array, series: Series, isSwept: boolean): void {
  const { ring } = series
  const { producer, consumer } = spsc.describe()
  if (isSwept && [producer, consumer].some(({ state }) => state === 'held')) {
    throw new Error(`A dead peer has a role: ${JSON.stringify(spsc.describe())}`)
  }
  const ledger = new RingLedger(words, ring)
  const [coming, there] = [ledger.get(PRODUCER_COMING), ledger.get(PRODUCER_THERE)]
  const mayBeTold = ledger.get(TOLD_FOR_GOOD) !== there || coming !== there
  const incarnation = ledger.get(CONSUMER_COMING) + 1
  const receiver = new Receiver(spsc, ledger, series, incarnation, new Random(1))
  const isTold = receiver.receiveRest()
  receiver.inspector.assertNothingIsMissing(coming)
  if (isTold && !mayBeTold) throw new Error(`Ring ${ring}: the death of producer ${there} was reported twice`)
  receiver.close()
  assertUsable(spsc, ring)
}

/** Checks that the ring is empty and works for new peers. */
function assertUsable(spsc: SpscRing, ring: number): void {
  const [producer, consumer] = [spsc.producer(), spsc.consumer()]
  const message = Uint8Array.of(1, 2, 3)
  const isSent = producer.trySend(message)
  const received = consumer.tryReceive()
  producer.close()
  const end = consumer.tryReceive()
  consumer.close()
  const { usedBytes } = spsc.describe()
  if (!isSent || !received || Buffer.compare(received, message) !== 0 || end !== null || usedBytes !== 0) {
    throw new Error(`Ring ${ring} is not usable after its peers: ${JSON.stringify(spsc.describe())}`)
  }
}
