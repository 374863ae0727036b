import { type MpmcQueue, type MpmcQueueOptions, mpmcQueue, type Receiver, type Sender } from '@isthmus/ring'
import { Int32Field, type Layout } from '@isthmus/sync'
import {
  COUNT_WORD,
  DONE_WORD,
  KIND_WORD,
  LEASE_WORD,
  POSITION_WORD,
  placesOf,
  SENDER_WORD,
} from '../../../../../packages/ring/src/mpmc/layout.js'
import {
  type AgentProgram,
  type AgentTools,
  agent,
  type Ending,
  type Scenario,
  scenario,
  type WordName,
} from '../../scenario.js'
import { mpmcQueueNames, pipeNames, type QueueSize } from '../../word-names.js'
import { QueueMemory } from './queue-memory.js'

/** A queue, followed by words in which the agents of a scenario tell each other what they have done. */
export interface NotedQueue {
  readonly queue: MpmcQueue
  readonly notes: readonly Int32Field[]
}

type SmallQueue = Omit<MpmcQueueOptions, 'codec' | 'slots'> & { readonly slots: number }

/** A small queue, and what its scenarios share. */
export class QueueCase {
  readonly size: QueueSize
  readonly layout: Layout<NotedQueue>
  readonly #notes: number
  readonly #hasPipes: boolean

  constructor(options: SmallQueue, notes = 0) {
    const { blocks, blockBytes, slots, lanes = 1, deadLetters = false } = options
    this.size = { blocks, blockBytes, slots, lanes: deadLetters ? lanes + 1 : lanes }
    this.layout = noted(mpmcQueue(options), notes)
    this.#notes = notes
    this.#hasPipes = options.maxMessageBytes !== undefined
  }

  scenario(definition: QueueScenario): Scenario<NotedQueue> {
    const { startPosition, startSeq = 0, isUnderRepair, check, ...rest } = definition
    const { blocks, blockBytes, slots, lanes } = this.size
    const { blocksOffset, strideBytes, byteLength } = placesOf(blocks, blockBytes, lanes, slots)
    const { wordNames, quietBytes } = mpmcQueueNames('queue', 0, this.size)
    const notes = Array.from({ length: this.#notes }, (_, note): WordName => {
      return { byteOffset: byteLength + note * 4, name: `notes[${note}]` }
    })
    // Of a block: the cell, the position and the kind; and `done` and `count`, which a peer reads before it takes an orphan. The
    // rest is read by the peer that has the block, and by no other; but of a pipe, others read whose it is.
    const headers = Array.from({ length: blocks }, (_, block) => blocksOffset + block * strideBytes).flatMap(
      (start) => [
        [start, start + (POSITION_WORD + 1) * 4] as const,
        [start + KIND_WORD * 4, start + (KIND_WORD + 1) * 4] as const,
        [start + DONE_WORD * 4, start + (COUNT_WORD + 1) * 4] as const,
        ...(this.#hasPipes ? [[start + LEASE_WORD * 4, start + (SENDER_WORD + 1) * 4] as const] : []),
      ],
    )
    // Every agent asks for each step: made once in its thread.
    let watched: QueueMemory | undefined
    return scenario({
      ...rest,
      layout: this.layout,
      wordNames: [...wordNames, ...(this.#hasPipes ? pipeNames('queue', 0, this.size) : []), ...notes],
      quietBytes,
      plainFromByteOffset: blocksOffset,
      stepBytes: [...headers, [byteLength, byteLength + this.#notes * 4]],
      setUp: (region) => {
        if (startPosition !== undefined) new QueueMemory(region, this.size).startAt(startPosition, startSeq)
      },
      invariant: (region, step) => {
        watched ??= new QueueMemory(region, this.size)
        if (isUnderRepair?.(watched)) return undefined
        return watched.wrongStep(step) ?? watched.wrongMoment()
      },
      check: (ending) => check(ending, new QueueMemory(ending.region, this.size)),
    })
  }

  agent<P>(program: {
    prepare(tools: AgentTools<NotedQueue>): P
    run(prepared: P, tools: AgentTools<NotedQueue>): unknown
  }): AgentProgram<NotedQueue> {
    return agent(this.layout, program)
  }

  /** An agent that sends these messages one by one, each of them once. It tells which ones were sent. */
  sends(...numbers: number[]): AgentProgram<NotedQueue> {
    return this.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => sentOf(sender, numbers),
    })
  }

  /** An agent that looks for a message this often, and is done with what it receives. It tells which ones these are. */
  receives(times: number): AgentProgram<NotedQueue> {
    return this.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run: (receiver) => received(receiver, times),
    })
  }

  /** An agent that proves deaths before it looks for a message. */
  proves(): AgentProgram<NotedQueue> {
    return this.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run(receiver) {
        const message = receiver.receiveSync({ timeoutMs: 0 })
        receiver.acknowledge()
        receiver.close()
        return numbersOf(message)
      },
    })
  }

  /** An agent that declares the death of one that crashes, and receives what there is then. */
  cleansUp(): AgentProgram<NotedQueue> {
    return this.agent({
      prepare: (tools) => withReceiver(tools),
      run({ region, receiver }, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return []
        region.declareDead(dead)
        tools.endSlices()
        return received(receiver, Number.POSITIVE_INFINITY)
      },
    })
  }
}

interface QueueScenario
  extends Pick<Scenario<NotedQueue>, 'name' | 'about' | 'agents' | 'mayCrash' | 'hasTimeouts' | 'timersMax'> {
  /** Of all lanes; if not given, the memory is zeroed. */
  readonly startPosition?: number
  /** Of all blocks. */
  readonly startSeq?: number
  /** At these moments the invariants do not hold. */
  isUnderRepair?(memory: QueueMemory): boolean
  check(ending: Ending, memory: QueueMemory): string | undefined
}

export function withReceiver(tools: AgentTools<NotedQueue>) {
  const region = tools.attach()
  return { region, receiver: region.root.queue.receiver() }
}

/** Message `number`: all its bytes are the number. */
export function messageOf(number: number): Uint8Array {
  return new Uint8Array(4).fill(number)
}

/** The number of a message that was received; -1 if its bytes are not those of one message. */
export function numberOf(message: Uint8Array): number {
  return message.every((byte) => byte === message[0]) ? message[0] : -1
}

/** The same, of what a receive may have given. */
export function numbersOf(message: Uint8Array | undefined | null): number[] {
  return message === undefined || message === null ? [] : [numberOf(message)]
}

/** Sends each of these messages once; tells which ones were sent. */
export function sentOf(sender: Sender, numbers: readonly number[], priority = 0): number[] {
  return numbers.filter((number) => sender.trySend(messageOf(number), priority === 0 ? undefined : { priority }))
}

/** Looks for a message this often, or until there is none. Nothing is left with the receiver. */
export function received(receiver: Receiver, times: number): number[] {
  const numbers: number[] = []
  for (let time = 0; time < times; time++) {
    const message = receiver.tryReceive()
    numbers.push(...numbersOf(message))
    if (times === Number.POSITIVE_INFINITY && (message === undefined || message === null)) break
  }
  receiver.acknowledge()
  receiver.close()
  return numbers
}

export interface Outcome {
  readonly sent: readonly number[]
  /** By each receiver, in its order. */
  readonly received: readonly (readonly number[])[]
  /** How many messages may be missing because their receiver died. */
  readonly lostMax?: number
  /** Messages that may have been sent or not, because their sender died. */
  readonly maybeSent?: readonly number[]
}

/** What is wrong with an ending: messages that are lost, doubled, garbled or in the wrong order, or a block that no peer has. */
export function wrongOutcome(memory: QueueMemory, outcome: Outcome): string | undefined {
  const { sent, received, lostMax = 0, maybeSent = [] } = outcome
  const left = memory.allMessages()
  const all = [...received.flat(), ...left]
  const told = `sent ${sent.join(' ')}; received ${received.map((one) => one.join(' ')).join(' | ')}; left ${left.join(' ')}`
  const lost = sent.filter((number) => !all.includes(number))
  const doubled = all.filter((number, at) => all.indexOf(number) !== at)
  const strange = all.filter((number) => !sent.includes(number) && !maybeSent.includes(number))
  if (lost.length > lostMax) return `lost ${lost.join(' ')}: ${told}`
  if (doubled.length > 0) return `doubled ${doubled.join(' ')}: ${told}`
  if (strange.length > 0) return `never sent ${strange.join(' ')}: ${told}`
  const strays = memory.strays()
  return strays.length === 0 ? undefined : `at the end, ${strays.join(', ')}: ${told}`
}

/** What the agents of these names have received; nothing if they have crashed. */
export function receivedBy({ returned }: Ending, ...agents: string[]): number[][] {
  return agents.map((agent) => (returned(agent) as number[] | undefined) ?? [])
}

/** Messages of one sender must be received in their order: each sender counts up, from a multiple of 10 on. */
export function wrongOrder(received: readonly (readonly number[])[]): string | undefined {
  for (const one of received) {
    for (let at = 1; at < one.length; at++) {
      const ofSender = one.slice(0, at).filter((before) => Math.floor(before / 10) === Math.floor(one[at] / 10))
      if (ofSender.some((before) => before > one[at])) return `received in the order ${one.join(' ')}`
    }
  }
  return undefined
}

function noted(queue: Layout<MpmcQueue>, notes: number): Layout<NotedQueue> {
  return {
    byteLength: queue.byteLength + notes * 4,
    byteAlignment: queue.byteAlignment,
    signature: `interleaver-noted@1(${queue.signature},${notes})`,
    initialize: (region, byteOffset) => queue.initialize(region, byteOffset),
    attach: (region, byteOffset) => ({
      queue: queue.attach(region, byteOffset),
      notes: Array.from({ length: notes }, (_, note) => {
        return new Int32Field(region, byteOffset + queue.byteLength + note * 4)
      }),
    }),
    sweep: (region, byteOffset, deadPeer) => queue.sweep?.(region, byteOffset, deadPeer),
    recover: (region, byteOffset) => queue.recover?.(region, byteOffset),
  }
}
