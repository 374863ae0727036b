import type { MpmcQueueOptions, Receiver, Sender, TakenLoan } from '@isthmus/ring'
import type { EmptyLook, Interval, Push, Take } from './mpmc-history.js'
import type { MpmcWatch } from './mpmc-watch.js'

/** One call of an agent. */
export type Command =
  | { readonly call: 'trySend' | 'sendSync' | 'send' | 'loan' | 'discard'; readonly priority: number }
  | { readonly call: 'trySendBatch' | 'sendBatchSync'; readonly priority: number; readonly count: number }
  | { readonly call: 'cork' | 'uncork' }
  | { readonly call: 'tryReceive' | 'receiveSync' | 'receive' | 'take' | 'release' | 'acknowledge' }
  | { readonly call: 'drain' | 'tryReceiveBatch'; readonly limit: number }

/** What one agent has done. */
export interface AgentLog {
  readonly pushes: Push[]
  readonly takes: Take[]
  readonly emptyLooks: EmptyLook[]
  readonly refusals: Interval[]
  readonly unsent: Interval[]
}

/** How long a call waits that may find nothing. */
const PATIENCE_MS = 1
const VALUES_PER_AGENT = 2 ** 20

type OpenTake = { -readonly [K in keyof Take]: Take[K] } & { values: number[]; readonly count: number }

/** Executes commands, and logs what they came to. */
export class MpmcPlayer {
  readonly log: AgentLog = { pushes: [], takes: [], emptyLooks: [], refusals: [], unsent: [] }
  readonly #sender: Sender
  readonly #receiver: Receiver
  readonly #watch: MpmcWatch
  readonly #options: MpmcQueueOptions
  readonly #originNs: bigint
  readonly #firstValue: number
  #accepted = 0
  /** Accepted by the sender, and not pushed. */
  readonly #unpushed: number[] = []
  #corks = 0
  /** Taken blocks whose messages the receiver has not given completely. */
  readonly #open: OpenTake[] = []
  #unacknowledged: OpenTake[] = []
  #loan: { readonly loan: TakenLoan; readonly take: OpenTake } | undefined

  constructor(
    handles: { readonly sender: Sender; readonly receiver: Receiver },
    watch: MpmcWatch,
    options: MpmcQueueOptions,
    agent: number,
    originNs: bigint,
  ) {
    this.#sender = handles.sender
    this.#receiver = handles.receiver
    this.#watch = watch
    this.#options = options
    this.#firstValue = agent * VALUES_PER_AGENT
    this.#originNs = originNs
  }

  async play(command: Command): Promise<unknown> {
    const sender = this.#sender
    const receiver = this.#receiver
    switch (command.call) {
      case 'trySend':
        return this.#send(() => Number(sender.trySend(this.#message(0), command)))
      case 'sendSync':
        return this.#send(() => Number(sender.sendSync(this.#message(0), { ...command, timeoutMs: PATIENCE_MS })))
      case 'send':
        return this.#send(async () => {
          return Number(await sender.send(this.#message(0), { ...command, timeoutMs: PATIENCE_MS }))
        })
      case 'loan':
        return this.#sendLoan(command.priority)
      case 'discard':
        return this.#send(() => {
          const loan = sender.tryLoan(command)
          loan?.discard()
          return loan === undefined ? 0 : -1
        })
      case 'trySendBatch':
        return this.#send(() => sender.trySendBatch(this.#batch(command.count), command), command.count)
      case 'sendBatchSync': {
        const options = { ...command, timeoutMs: PATIENCE_MS }
        return this.#send(() => sender.sendBatchSync(this.#batch(command.count), options), command.count)
      }
      case 'cork':
        if (this.#corks++ === 0) sender.cork()
        return undefined
      case 'uncork':
        return this.#uncork()
      case 'tryReceive':
        return this.#receive(() => listOf(receiver.tryReceive()))
      case 'receiveSync':
        return this.#receive(() => listOf(receiver.receiveSync({ timeoutMs: PATIENCE_MS })), 'patient')
      case 'receive':
        return this.#receive(async () => listOf(await receiver.receive({ timeoutMs: PATIENCE_MS })), 'patient')
      case 'tryReceiveBatch':
        return this.#receive(() => receiver.tryReceiveBatch(command.limit) ?? [])
      case 'drain':
        return this.#receive(() => this.#drain(command.limit), 'acknowledging')
      case 'take':
        return this.#take()
      case 'release':
        return this.#release()
      case 'acknowledge': {
        receiver.acknowledge()
        return this.#noteAcknowledged(this.#now())
      }
    }
  }

  /** Leaves nothing behind: no block, and no message that the receiver has taken. */
  async finish(): Promise<void> {
    while (this.#corks > 0) await this.#uncork()
    this.#release()
    while (this.#open.length > 0) await this.play({ call: 'tryReceive' })
    await this.play({ call: 'acknowledge' })
  }

  /** Receives until there is nothing. */
  async drain(): Promise<void> {
    const before = this.log.emptyLooks.length
    while (this.log.emptyLooks.length === before) await this.play({ call: 'tryReceive' })
    await this.finish()
  }

  async #send(action: () => number | Promise<number>, count = 1): Promise<void> {
    const startNs = this.#begin()
    let accepted: number
    try {
      accepted = await action()
    } catch (error) {
      // This agent has all blocks itself.
      const { code, sent = 0 } = error as { code?: string; sent?: number }
      if (code !== 'EDEADLK') throw error
      accepted = sent
    }
    const endNs = this.#now()
    if (accepted >= 0 && accepted < count) this.log.refusals.push({ startNs, endNs })
    for (let at = 0; at < accepted; at++) this.#unpushed.push(this.#firstValue + this.#accepted++)
    this.#notePushes(startNs, endNs)
  }

  #notePushes(startNs: number, endNs: number): void {
    for (const { lane, position, count, ownedSince } of this.#watch.pushed) {
      const values = this.#unpushed.splice(0, count)
      this.log.pushes.push({ lane, position, values, startNs, endNs, occupiedFromNs: ownedSince })
    }
    for (const ownedSince of this.#watch.disowned) this.log.unsent.push({ startNs: ownedSince, endNs })
  }

  #sendLoan(priority: number): void {
    const startNs = this.#begin()
    const loan = this.#sender.tryLoan({ priority })
    if (loan === undefined) {
      this.log.refusals.push({ startNs, endNs: this.#now() })
      return
    }
    const message = this.#message(0)
    loan.bytes.set(message)
    loan.send(message.length)
    const endNs = this.#now()
    // A loan is not held back by a cork: it overtakes what is.
    const heldBack = this.#unpushed.splice(0, this.#unpushed.length, this.#firstValue + this.#accepted++)
    this.#notePushes(startNs, endNs)
    this.#unpushed.push(...heldBack)
  }

  async #uncork(): Promise<void> {
    if (this.#corks === 0 || --this.#corks > 0) return
    await this.#send(() => {
      this.#sender.uncork()
      return -1
    })
  }

  async #receive(
    action: () => Uint8Array[] | Promise<Uint8Array[]>,
    kind?: 'patient' | 'acknowledging',
  ): Promise<OpenTake[]> {
    const startNs = this.#begin()
    const messages = await action()
    const endNs = this.#now()
    const { taken, lookedAt } = this.#watch
    this.#noteAcknowledged(endNs)
    for (const { lane, position, count } of taken) {
      this.#open.push({ lane, position, count, values: [], startNs, endNs, occupiedUntilNs: Number.POSITIVE_INFINITY })
    }
    const given: OpenTake[] = []
    for (const message of messages) {
      const take = this.#open[0]
      if (take === undefined) throw new Error('A message came, and no block was taken')
      take.values.push(valueIn(message))
      if (take.values.length < take.count) continue
      given.push(take)
      this.#open.shift()
      this.log.takes.push(take)
    }
    const isAcknowledged = this.#options.delivery !== 'at-least-once' || kind === 'acknowledging'
    if (isAcknowledged) for (const take of given) take.occupiedUntilNs = endNs
    else this.#unacknowledged.push(...given)
    if (messages.length === 0 && kind !== 'patient') {
      for (let lane = 0; lane < (this.#options.lanes ?? 1); lane++) {
        const position = lookedAt[lane]
        if (position === undefined) throw new Error(`Nothing was found, without a look at lane ${lane}`)
        this.log.emptyLooks.push({ lane, position, startNs, endNs })
      }
    }
    return given
  }

  async #take(): Promise<void> {
    this.#release()
    let loan: TakenLoan | undefined | null
    const open = this.#open[0]
    const given = await this.#receive(() => {
      loan = this.#receiver.tryTake()
      return loan === undefined || loan === null ? [] : [loan.bytes.slice()]
    })
    if (loan === undefined || loan === null) return
    const take = given[0] ?? open ?? this.#open[0]
    // Its block is free when the last of its messages is.
    take.occupiedUntilNs = Number.POSITIVE_INFINITY
    this.#unacknowledged = this.#unacknowledged.filter((other) => other !== take)
    this.#loan = { loan, take }
  }

  #release(): void {
    if (this.#loan === undefined) return
    const { loan, take } = this.#loan
    this.#loan = undefined
    loan.release()
    if (take.count === 1) take.occupiedUntilNs = this.#now()
  }

  #noteAcknowledged(endNs: number): void {
    for (const take of this.#unacknowledged.splice(0)) if (take.count === 1) take.occupiedUntilNs = endNs
  }

  #drain(limit: number): Uint8Array[] {
    const messages: Uint8Array[] = []
    this.#receiver.drain(
      (bytes, byteOffset, byteLength) => {
        messages.push(bytes.slice(byteOffset, byteOffset + byteLength))
      },
      { limit },
    )
    return messages
  }

  #batch(count: number): Uint8Array[] {
    return Array.from({ length: count }, (_, at) => this.#message(at))
  }

  /** The message that is sent after `ahead` others: its value, and as many bytes of a pattern as the value says. */
  #message(ahead: number): Uint8Array {
    const value = this.#firstValue + this.#accepted + ahead
    const bytes = new Uint8Array(4 + (value % (this.#options.blockBytes - 11))).fill(value)
    new DataView(bytes.buffer).setUint32(0, value, true)
    return bytes
  }

  #begin(): number {
    const startNs = this.#now()
    this.#watch.begin(startNs)
    return startNs
  }

  #now(): number {
    return Number(process.hrtime.bigint() - this.#originNs)
  }
}

function listOf(message: Uint8Array | undefined | null): Uint8Array[] {
  return message === undefined || message === null ? [] : [message]
}

function valueIn(message: Uint8Array): number {
  const value = new DataView(message.buffer, message.byteOffset, message.byteLength).getUint32(0, true)
  if (message.subarray(4).some((byte) => byte !== (value & 0xff))) throw new Error(`Message ${value} is damaged`)
  return value
}
