import type { MpmcQueue, Sender } from '@isthmus/ring'
import type { TimeoutOptions } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import type { QueueLedger } from './queue-ledger.js'
import { messageOf } from './queue-message.js'

const BATCH_MAX = 9

/** Sends numbered messages in every way there is, and notes which it has begun and completed. */
export class QueueSender {
  readonly #sender: Sender
  readonly #ledger: QueueLedger
  readonly #random: Random
  readonly #patience: TimeoutOptions

  /** @param patience how long a call waits for space */
  constructor(queue: MpmcQueue, ledger: QueueLedger, random: Random, patience: TimeoutOptions) {
    this.#patience = patience
    this.#sender = queue.sender()
    this.#ledger = ledger
    this.#random = random
  }

  /** Returns how many messages it sent. */
  step(): number {
    const random = this.#random
    switch (random.below(8)) {
      case 0:
        return this.#sendBatch((messages) => this.#sender.trySendBatch(messages))
      case 1:
        return this.#sendBatch((messages) => this.#sender.sendBatchSync(messages, this.#patience))
      case 2:
        return this.#sendBatch((messages) => this.#sendCorked(messages))
      case 3:
        return this.#sendBatch(([message]) => (this.#lend(message) ? 1 : 0), 1)
      case 4:
        return this.#sendBatch(([message]) => (this.#sender.trySend(message) ? 1 : 0), 1)
      case 5: {
        const timeoutMs = random.below(30) / 10
        return this.#sendBatch(([message]) => (this.#sender.sendSync(message, { timeoutMs }) ? 1 : 0), 1)
      }
      default:
        return this.#sendBatch(([message]) => (this.#sender.sendSync(message, this.#patience) ? 1 : 0), 1)
    }
  }

  #sendBatch(send: (messages: readonly Uint8Array[]) => number, count = 1 + this.#random.below(BATCH_MAX)): number {
    const numbers = Array.from({ length: count }, () => this.#ledger.begin())
    const sent = send(numbers.map(messageOf))
    numbers.forEach((number, at) => {
      if (at < sent) this.#ledger.noteSent(number)
      else this.#ledger.noteUnsent(number)
    })
    return sent
  }

  #sendCorked(messages: readonly Uint8Array[]): number {
    let sent = 0
    this.#sender.cork()
    while (sent < messages.length && this.#sender.trySend(messages[sent])) sent++
    this.#sender.uncork()
    return sent
  }

  #lend(message: Uint8Array): boolean {
    const loan = this.#sender.tryLoan()
    if (loan === undefined) return false
    loan.bytes.set(message)
    const isSent = !this.#random.isOneIn(4)
    if (isSent) loan.send(message.byteLength)
    else loan.discard()
    return isSent
  }
}
