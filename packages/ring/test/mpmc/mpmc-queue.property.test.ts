import type { HeapRegion } from '@isthmus/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MpmcQueue, MpmcQueueOptions, Receiver, Sender, SendLoan, TakenLoan } from '../../src/index.js'
import { createQueue, type QueueSetup } from '../support/queue-memory.js'
import { endHold } from '../support/ring-memory.js'

/** An attachment with its handles, and what the program behind it knows. */
interface Agent {
  readonly region: HeapRegion<MpmcQueue>
  readonly sender: Sender
  readonly receiver: Receiver
  readonly loans: SendLoan[]
  readonly taken: { loan: TakenLoan; number: number }[]
  /** Numbers that it has sent between cork and uncork: they are lost with it. */
  corked: number[]
  isCorked: boolean
  /**
   * Numbers that it was given while it had loans: acknowledged or not, they come again if it dies and one of the loans is an
   * earlier message of the same block.
   */
  readonly behindLoans: number[]
  /** Numbers that it was given and has not acknowledged. */
  unacknowledged: number[]
}

const AGENTS = 3

/** Random calls of three attachments, of which one is killed now and then, and what must hold whatever they do. */
class World {
  readonly #options: MpmcQueueOptions
  readonly #setup: QueueSetup
  readonly #agents: Agent[]
  #next = 1
  /** What is committed, in order, if each message has a block of its own. */
  readonly #queued: number[] = []
  readonly #sent = new Set<number>()
  readonly #received = new Map<number, number>()
  /** Numbers that a killed agent had: they may be lost (at most once), or come again (at least once). */
  readonly #atRisk = new Set<number>()
  /** Numbers that a killed sender had corked. */
  readonly #mayBeLost = new Set<number>()
  #hasKilled = false

  constructor(options: MpmcQueueOptions, startPosition: number, seq: number) {
    this.#options = options
    this.#setup = createQueue(options, startPosition, seq)
    this.#agents = Array.from({ length: AGENTS }, (_, at) => this.#agentOf(at === 0 ? this.#setup.region : undefined))
  }

  step(command: number, which: number, count: number): void {
    const agent = this.#agents[which % AGENTS]
    if (command === 0) this.#send(agent)
    else if (command === 1) this.#note(agent, [agent.receiver.tryReceive()])
    else if (command === 2) this.#sendBatch(agent, count)
    else if (command === 3) this.#note(agent, agent.receiver.tryReceiveBatch(count) ?? [])
    else if (command === 4) this.#drain(agent, count)
    else if (command === 5) this.#cork(agent)
    else if (command === 6) this.#lend(agent, count)
    else if (command === 7) this.#take(agent, count)
    else if (command === 8) this.#kill(which % AGENTS)
    else this.#acknowledge(agent)
  }

  check(): void {
    this.#setup.memory.check()
  }

  /** Everything is given back, and received by one that lives. Then nothing may be missing. */
  finish(): void {
    for (const agent of this.#agents) {
      if (agent.isCorked) this.#cork(agent)
      for (const loan of agent.loans) loan.discard()
      for (const { loan, number } of agent.taken.splice(0)) this.#giveBack(agent, loan, number)
      for (const number of agent.unacknowledged) this.#atRisk.add(number)
      agent.receiver.close()
    }
    const last = this.#agentOf(undefined)
    const deadline = performance.now() + 10_000
    // What dead ones had comes back when a look proves their death.
    while (!this.#setup.memory.allFree) {
      this.#note(last, [last.receiver.receiveSync({ timeoutMs: 0 })])
      last.receiver.acknowledge()
      if (performance.now() > deadline) throw new Error(`blocks are not free: ${this.#setup.memory.holds()}`)
    }
    expect(last.receiver.tryReceive()).toBeUndefined()
    for (const number of this.#sent) {
      const times = this.#received.get(number) ?? 0
      const isAtRisk = this.#atRisk.has(number)
      if (this.#options.delivery === 'at-least-once') {
        if (times === 0 && !this.#mayBeLost.has(number)) throw new Error(`${number} was never delivered`)
        if (times > 1 && !isAtRisk) throw new Error(`${number} was delivered ${times} times`)
      } else {
        if (times > 1) throw new Error(`${number} was delivered ${times} times`)
        if (times === 0 && !isAtRisk && !this.#mayBeLost.has(number)) throw new Error(`${number} was lost`)
      }
    }
    expect(this.#setup.memory.tail()).toBe(this.#setup.memory.head())
  }

  #agentOf(region = this.#setup.attach()): Agent {
    const sender = region.root.sender()
    const receiver = region.root.receiver()
    return {
      region,
      sender,
      receiver,
      loans: [],
      taken: [],
      corked: [],
      isCorked: false,
      behindLoans: [],
      unacknowledged: [],
    }
  }

  #send(agent: Agent): void {
    const number = this.#next++
    if (!agent.sender.trySend(bytesOf(number))) return
    this.#commit(agent, number)
  }

  #commit(agent: Agent, number: number): void {
    this.#sent.add(number)
    if (agent.isCorked && this.#options.packLimit !== 1) agent.corked.push(number)
    else this.#queued.push(number)
  }

  #sendBatch(agent: Agent, count: number): void {
    const numbers = Array.from({ length: count }, () => this.#next++)
    const sentCount = agent.sender.trySendBatch(numbers.map(bytesOf))
    for (const number of numbers.slice(0, sentCount)) this.#commit(agent, number)
  }

  #cork(agent: Agent): void {
    if (agent.isCorked) agent.sender.uncork()
    else agent.sender.cork()
    agent.isCorked = !agent.isCorked
    this.#queued.push(...agent.corked)
    agent.corked = []
  }

  #acknowledge(agent: Agent): void {
    agent.receiver.acknowledge()
    agent.unacknowledged = []
  }

  #drain(agent: Agent, count: number): void {
    const numbers: number[] = []
    agent.receiver.drain((bytes, byteOffset) => numbers.push(bytes[byteOffset] + bytes[byteOffset + 1] * 256), {
      limit: count,
    })
    agent.unacknowledged = []
    for (const number of numbers) {
      this.#count(number)
      if (agent.taken.length > 0) agent.behindLoans.push(number)
    }
  }

  #lend(agent: Agent, count: number): void {
    const loan = agent.loans.pop() ?? agent.sender.tryLoan()
    if (loan === undefined) return
    if (count === 1) {
      agent.loans.push(loan)
    } else if (count === 2) {
      loan.discard()
    } else {
      const number = this.#next++
      agent.sender.words[loan.byteOffset / 4] = number
      loan.send(4)
      this.#sent.add(number)
      this.#queued.push(number)
    }
  }

  #take(agent: Agent, count: number): void {
    const held = count > 2 ? agent.taken.pop() : undefined
    if (held !== undefined) {
      this.#giveBack(agent, held.loan, held.number)
      return
    }
    const loan = agent.receiver.tryTake()
    agent.unacknowledged = []
    if (loan === undefined || loan === null) return
    const number = numberOf(loan.bytes)
    this.#expectFirst(number)
    agent.taken.push({ loan, number })
  }

  #giveBack(agent: Agent, loan: TakenLoan, number: number): void {
    if (number % 2 === 0 && loan.requeue()) {
      this.#queued.push(number)
      return
    }
    loan.release()
    this.#count(number)
    if (agent.taken.length > 0) agent.behindLoans.push(number)
  }

  #note(agent: Agent, messages: (Uint8Array | undefined | null)[]): void {
    agent.unacknowledged = []
    for (const message of messages) {
      if (message === undefined || message === null) continue
      const number = numberOf(message)
      this.#count(number)
      agent.unacknowledged.push(number)
      if (agent.taken.length > 0) agent.behindLoans.push(number)
    }
  }

  #count(number: number): void {
    this.#expectFirst(number)
    this.#received.set(number, (this.#received.get(number) ?? 0) + 1)
  }

  /** Without kills and packs, there is one order. A number that is requeued or redelivered stands at the end. */
  #expectFirst(number: number): void {
    if (!this.#sent.has(number)) throw new Error(`${number} was never sent`)
    if (this.#hasKilled || this.#options.packLimit !== 1 || this.#options.delivery === 'at-least-once') return
    const at = this.#queued.indexOf(number)
    // One that was taken, and then requeued or released, has left the queue before.
    if (at < 0) return
    if (at > 0) throw new Error(`${number} came before ${this.#queued[0]}`)
    this.#queued.shift()
  }

  /** Its lease is gone, and nothing else happens. Another one takes its place. */
  #kill(which: number): void {
    const agent = this.#agents[which]
    const taken = agent.taken.map((held) => held.number)
    for (const number of [...agent.unacknowledged, ...agent.behindLoans, ...taken]) this.#atRisk.add(number)
    // A corked sender has pushed some of its blocks, and lost the last one.
    for (const number of agent.corked) this.#mayBeLost.add(number)
    this.#hasKilled = true
    endHold(agent.region, agent.region.peers.self)
    this.#agents[which] = this.#agentOf(undefined)
  }
}

function bytesOf(number: number): Uint8Array {
  return new Uint8Array(Int32Array.of(number, ~number).buffer, 0, 4 + (number % 5 === 0 ? 4 : 0))
}

function numberOf(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset, message.byteLength).getInt32(0, true)
}

describe.each(['at-most-once', 'at-least-once'] as const)('mpmcQueue, %s', (delivery) => {
  it.each([
    { blocks: 1, blockBytes: 32, slots: 2, packLimit: 1 },
    { blocks: 3, blockBytes: 40, slots: 4, packLimit: 64 },
    { blocks: 6, blockBytes: 64, packLimit: 3 },
  ])('with %o: nothing is lost or doubled, whatever its agents do, and except for what killed ones had', (sizes) => {
    const options = { ...sizes, delivery, maxDeliveries: 60_000 }
    const command = fc.tuple(fc.nat(9), fc.nat(AGENTS - 1), fc.integer({ min: 1, max: 5 }))
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 60 }),
        fc.constantFrom(0, -3, 2 ** 31 - 2),
        fc.constantFrom(0, 2 ** 23 - 2),
        (commands, startPosition, seq) => {
          const world = new World(options, startPosition, seq)
          for (const [command, which, count] of commands) {
            world.step(command, which, count)
            world.check()
          }
          world.finish()
        },
      ),
      { numRuns: Number(process.env.ISTHMUS_RUNS ?? 60) },
    )
  })
})
