/** What one receiver has noted, in order. */
export interface Notes {
  readonly values: readonly Value[]
  /** If so, its last message may be unacknowledged, and it may have taken one more without noting it. */
  readonly isKilled: boolean
}

/** A message: which sender has sent it, and as which of its messages. */
export interface Value {
  readonly sender: number
  readonly number: number
}

export function messageOf({ sender, number }: Value): Uint8Array {
  return new Uint8Array(Uint32Array.of(sender, number).buffer)
}

export function valueIn(message: DataView): Value {
  return { sender: message.getUint32(0, true), number: message.getUint32(4, true) }
}

/** A value as receivers note it, in one word. */
export function noteOf({ sender, number }: Value): number {
  return (sender << 24) | number
}

export function valueOfNote(note: number): Value {
  return { sender: note >>> 24, number: note & 0xffffff }
}

/** Everything that several processes did with one queue, from empty to empty. */
export interface DeliveryRun {
  readonly delivery: 'at-most-once' | 'at-least-once'
  /** Senders send so many at a time: a killed one may have sent as many more than it has counted. */
  readonly batch: number
  /** How many each sender says that it has sent. */
  readonly sent: readonly number[]
  readonly receivers: readonly Notes[]
  /** How many the queue says were lost with their receivers. */
  readonly lost: number
}

/**
 * Says where a run breaks the promise of its delivery; returns nothing for one that keeps it.
 *
 * - A message that was sent is received; at most once, it may be lost if a receiver was killed: one for each of them.
 * - A message is received once; at least once, also by each receiver that was killed before it acknowledged it, which is the
 *   last one that it noted.
 * - A message that no sender sent is not received.
 * - Each receiver receives the messages of each sender in order, unless a message comes again after a death.
 */
export function faultsOfDelivery({ delivery, batch, sent, receivers, lost }: DeliveryRun): string[] {
  const faults: string[] = []
  const isAtLeastOnce = delivery === 'at-least-once'
  const received = sent.map(() => new Map<number, number>())
  for (const { values, isKilled } of receivers) {
    const last = sent.map(() => -1)
    const behind = sent.map(() => 0)
    for (const [at, { sender, number }] of values.entries()) {
      if (number >= sent[sender] + batch) faults.push(`message ${number} of sender ${sender} was never sent`)
      const isUnacknowledged = isAtLeastOnce && isKilled && at === values.length - 1
      const count = received[sender].get(number) ?? 0
      received[sender].set(number, count + (isUnacknowledged ? 0 : 1))
      if (number < last[sender]) behind[sender]++
      last[sender] = Math.max(last[sender], number)
    }
    const deaths = receivers.filter((other) => other.isKilled).length
    // What comes again: at most one message, or the rest of one batch, for each death.
    const outOfOrder = behind.reduce((sum, count) => sum + count, 0)
    if (outOfOrder > (isAtLeastOnce || batch > 1 ? deaths * batch : 0)) faults.push(`${outOfOrder} came out of order`)
  }
  let missing = 0
  for (const [sender, counts] of received.entries()) {
    for (let number = 0; number < sent[sender]; number++) if (!counts.has(number)) missing++
    for (const [number, count] of counts) {
      if (count > 1) faults.push(`message ${number} of sender ${sender} was received ${count} times`)
    }
  }
  const killed = receivers.filter(({ isKilled }) => isKilled).length
  if (missing > (isAtLeastOnce ? 0 : killed))
    faults.push(`${missing} messages were lost, with ${killed} receivers killed`)
  if (lost > missing + sent.length * batch)
    faults.push(`the queue counts ${lost} lost messages, and ${missing} are missing`)
  return faults
}
