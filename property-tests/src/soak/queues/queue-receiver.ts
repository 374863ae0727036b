import type { MpmcQueue, Receiver, TakenLoan } from '@isthmus/ring'
import type { TimeoutOptions } from '@isthmus/sync'
import type { Random } from '../../hostile/random.js'
import type { QueueLedger } from './queue-ledger.js'
import { numberIn } from './queue-message.js'

const BATCH_MAX = 12
const WORK_MAX_MS = 3

const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** Receives messages in every way there is, and notes which it was given, and which are acknowledged. */
export class QueueReceiver {
  readonly #queue: MpmcQueue
  readonly #ledger: QueueLedger
  readonly #role: number
  readonly #random: Random
  readonly #patience: TimeoutOptions
  #receiver: Receiver
  /** Given, and not known to be acknowledged. */
  #open: number[] = []

  /** @param patience how long a call waits for a message */
  constructor(queue: MpmcQueue, ledger: QueueLedger, role: number, random: Random, patience: TimeoutOptions) {
    this.#patience = patience
    this.#queue = queue
    this.#ledger = ledger
    this.#role = role
    this.#random = random
    ledger.excusePredecessor(role)
    this.#receiver = queue.receiver()
  }

  /** Returns how many messages it received. */
  step(): number {
    const random = this.#random
    if (random.isOneIn(200)) this.#beginAnew()
    const maxMessages = 1 + random.below(BATCH_MAX)
    switch (random.below(9)) {
      case 0:
        return this.#receive(1, () => [this.#receiver.tryReceive()])
      case 1:
        return this.#receive(maxMessages, () => this.#receiver.tryReceiveBatch(maxMessages) ?? [])
      case 2:
        return this.#receive(
          maxMessages,
          () => this.#receiver.receiveBatchSync({ maxMessages, ...this.#patience }) ?? [],
        )
      case 3:
        return this.#drain(maxMessages)
      case 4:
        return this.#take(random.isOneIn(4))
      case 5:
        return this.#acknowledge()
      case 6: {
        const timeoutMs = random.below(30) / 10
        return this.#receive(1, () => [this.#receiver.receiveSync({ timeoutMs })])
      }
      default:
        return this.#receive(1, () => [this.#receiver.receiveSync(this.#patience)])
    }
  }

  /** Receives until there is nothing more, and no dead peer has anything. */
  receiveRest(): void {
    while (this.#receive(1, () => [this.#receiver.receiveSync({ timeoutMs: 0 })]) > 0);
    this.#acknowledge()
    this.#receiver.close()
  }

  /** What was given before is acknowledged by any call that receives. */
  #receive(countMax: number, receive: () => readonly (Uint8Array | undefined | null)[]): number {
    this.#expect(countMax)
    const messages = receive().filter((message) => message !== undefined && message !== null)
    this.#settle()
    for (const message of messages) this.#note(message)
    this.#expect(0)
    if (messages.length > 0) this.#work()
    return messages.length
  }

  #drain(limit: number): number {
    this.#expect(limit)
    const count = this.#receiver.drain(
      (bytes, byteOffset, byteLength) => {
        // The call, and then the return of each callback, has acknowledged what was given before.
        this.#settle()
        this.#note(bytes.slice(byteOffset, byteOffset + byteLength))
        this.#work()
        this.#acknowledging()
      },
      { limit },
    )
    this.#settle()
    this.#expect(0)
    return count ?? 0
  }

  #take(isPutBack: boolean): number {
    this.#expect(1)
    const loan = this.#receiver.tryTake()
    this.#settle()
    if (loan === undefined || loan === null) {
      this.#expect(0)
      return 0
    }
    if (!isPutBack || !this.#putBack(loan)) {
      this.#note(loan.bytes)
      this.#work()
      this.#acknowledging()
      loan.release()
      this.#settle()
    }
    this.#expect(0)
    return 1
  }

  #putBack(loan: TakenLoan): boolean {
    const number = numberIn(loan.bytes)
    this.#ledger.notePuttingBack(number, true)
    const isDone = loan.requeue()
    this.#ledger.notePuttingBack(number, false)
    return isDone
  }

  #acknowledge(): number {
    this.#acknowledging()
    this.#receiver.acknowledge()
    this.#settle()
    this.#expect(0)
    return 0
  }

  /** What it was given and has not acknowledged comes again. */
  #beginAnew(): void {
    this.#ledger.excuse(this.#open.length)
    this.#open = []
    this.#receiver.close()
    this.#receiver = this.#queue.receiver()
  }

  /** A receiver is often killed while it works at what it was given. */
  #work(): void {
    if (this.#random.isOneIn(5)) Atomics.wait(sleeper, 0, 0, this.#random.below(WORK_MAX_MS * 10) / 10)
  }

  #note(message: Uint8Array): void {
    const number = numberIn(message)
    this.#ledger.noteReceived(number)
    this.#open.push(number)
  }

  /** What is done next acknowledges what was given. */
  #acknowledging(): void {
    for (const number of this.#open) this.#ledger.noteAcknowledging(number)
  }

  #settle(): void {
    for (const number of this.#open) this.#ledger.noteSettled(number)
    this.#open = []
  }

  /** States how many messages it has, and may get in the next call. */
  #expect(more: number): void {
    this.#ledger.pending = { role: this.#role, count: this.#open.length + more }
    if (more > 0) this.#acknowledging()
  }
}
