import type { MpmcQueueOptions } from '@isthmus/ring'
import { planHeader } from '@isthmus/sync/internal'
import type { AgentTools } from '../../scenario.js'
import {
  messageOf,
  type NotedQueue,
  numbersOf,
  QueueCase,
  received,
  receivedBy,
  sentOf,
  wrongOutcome,
} from './queue-case.js'
import type { QueueMemory } from './queue-memory.js'

/** Senders and receivers that are killed, and the peers that bring back what they had. */

/** How many messages a receiver notes: for each of them, that it is about to acknowledge it, and that it has done so. */
const NOTED_MESSAGES = 2
const NOTES = 2 * NOTED_MESSAGES

type Delivery = NonNullable<MpmcQueueOptions['delivery']>

function caseOf(delivery: Delivery, blocks = 2, blockBytes = 8): QueueCase {
  return new QueueCase({ blocks, blockBytes, slots: 4, delivery }, NOTES)
}

const once = caseOf('at-most-once')
const again = caseOf('at-least-once')

export const mpmcCrashProducer = once.scenario({
  name: 'mpmc-crash-producer',
  about:
    'A sender may be killed at any operation of its two sends, while a receiver looks; its death is declared. Each message was sent as a whole or not at all, and both blocks come back.',
  mayCrash: ['sender'],
  agents: { sender: once.sends(10, 11), receiver: once.receives(1), janitor: once.cleansUp() },
  check(ending, memory) {
    const received = receivedBy(ending, 'receiver', 'janitor')
    const all = [...received.flat(), ...memory.allMessages()]
    if (all.includes(11) && !all.includes(10)) return 'the second message was sent, and the first one was not'
    return wrongOutcome(memory, { sent: receivedBy(ending, 'sender').flat(), maybeSent: [10, 11], received })
  },
})

/** Receives this many messages one by one, and acknowledges each of them, with notes. */
function receiveNoting({ queue, notes }: NotedQueue, count: number): number[] {
  const receiver = queue.receiver()
  const numbers: number[] = []
  for (let time = 0; time < count; time++) {
    const [number] = numbersOf(receiver.tryReceive())
    if (number === undefined) continue
    notes[2 * time].value = number
    receiver.acknowledge()
    notes[2 * time + 1].value = number
    numbers.push(number)
  }
  receiver.close()
  return numbers
}

/** At least once: only what the dead receiver was about to acknowledge may be missing, and what it had acknowledged must be. */
function wrongAcknowledgement(memory: QueueMemory, sent: readonly number[], received: readonly (readonly number[])[]) {
  const all = [...received.flat(), ...memory.allMessages()]
  const missing: number[] = []
  for (let time = 0; time < NOTED_MESSAGES; time++) {
    const number = memory.note(2 * time)
    if (number === 0) continue
    if (!all.includes(number)) missing.push(number)
    else if (memory.note(2 * time + 1) !== 0) return `${number} was acknowledged, and came again`
  }
  return wrongOutcome(memory, { sent: sent.filter((number) => !missing.includes(number)), received })
}

/** Two receivers race for two messages, and one of them may be killed. */
function crashConsumer(name: string, delivery: Delivery, about: string) {
  const of = delivery === 'at-most-once' ? once : again
  const sent = [10, 11]
  return of.scenario({
    name,
    about,
    mayCrash: ['receiver'],
    agents: {
      receiver: of.agent({
        prepare(tools) {
          const { root } = tools.attach()
          sentOf(root.queue.sender(), sent)
          return root
        },
        run: (root) => receiveNoting(root, 1),
      }),
      other: of.receives(1),
      janitor: of.cleansUp(),
    },
    check(ending, memory) {
      const received = receivedBy(ending, 'receiver', 'other', 'janitor')
      if (ending.crashed === undefined) return wrongOutcome(memory, { sent, received })
      return delivery === 'at-most-once'
        ? wrongOutcome(memory, { sent, received, lostMax: 1 })
        : wrongAcknowledgement(memory, sent, received)
    },
  })
}

export const mpmcCrashConsumer = crashConsumer(
  'mpmc-crash-consumer',
  'at-most-once',
  'At most once: one of two receivers may be killed at any operation. The message that it had taken is lost; the other one is not, and both blocks come back.',
)

export const mpmcCrashConsumerAgain = crashConsumer(
  'mpmc-crash-consumer-again',
  'at-least-once',
  'At least once: one of two receivers may be killed at any operation, also while it acknowledges. The message that it had taken and not acknowledged comes again. None is lost, and none comes twice otherwise.',
)

const DEAD_SLOT = 1

/** Of a peer that has died, and that no agent has swept: message 10, which it had taken; message 11, in the queue; a loan. It had slot 1. */
function leaveBehind(tools: AgentTools<NotedQueue>): void {
  const { queue } = tools.attach().root
  const sender = queue.sender()
  sentOf(sender, [10, 11])
  queue.receiver().tryTake()
  sender.tryLoan()
}

function withDead(tools: AgentTools<NotedQueue>) {
  const region = tools.attach()
  const dead = region.peers.at(DEAD_SLOT)
  if (dead === undefined) throw new Error('No peer has died')
  return { region, dead, root: region.root }
}

function twoProvers(name: string, delivery: Delivery, about: string) {
  const of = caseOf(delivery, 3)
  const sent = [10, 11]
  return of.scenario({
    name,
    about,
    mayCrash: ['sweeper'],
    agents: {
      sweeper: of.agent({
        prepare(tools) {
          leaveBehind(tools)
          return withDead(tools)
        },
        run({ region, dead, root }) {
          region.declareDead(dead)
          return receiveNoting(root, 1)
        },
      }),
      prover: of.proves(),
      janitor: of.agent({
        prepare: (tools) => ({ ...withDead(tools), receiver: tools.attach().root.queue.receiver() }),
        run({ region, dead, receiver }, tools) {
          const sweeper = tools.awaitCrash()
          if (sweeper !== undefined) region.declareDead(sweeper)
          // The dead sweeper may not have finished.
          region.declareDead(dead)
          return received(receiver, Number.POSITIVE_INFINITY)
        },
      }),
    },
    check(ending, memory) {
      const received = receivedBy(ending, 'sweeper', 'prover', 'janitor')
      const hasCrashed = ending.crashed !== undefined
      if (delivery === 'at-most-once') return wrongOutcome(memory, { sent, received, lostMax: hasCrashed ? 2 : 1 })
      return hasCrashed ? wrongAcknowledgement(memory, sent, received) : wrongOutcome(memory, { sent, received })
    },
  })
}

export const mpmcTwoProvers = twoProvers(
  'mpmc-two-provers',
  'at-most-once',
  'At most once: a peer has died with a message that it had taken, a loan, and a message in the queue. A sweeper, which may be killed at any operation, and a receiver that proves the death free its blocks at once. The sent message is received, and all blocks come back.',
)

export const mpmcTwoProversAgain = twoProvers(
  'mpmc-two-provers-again',
  'at-least-once',
  'At least once: a peer has died with a message that it had taken, a loan, and a message in the queue. A sweeper, which may be killed at any operation, and a receiver that proves the death bring back its blocks at once. Both messages are received.',
)

export const mpmcSlotReuse = again.scenario({
  name: 'mpmc-slot-reuse',
  about:
    'A peer has died with a message that it had taken. A janitor declares its death, a receiver proves it, and a newcomer gets its slot, sends and receives. No sweep takes a block from the newcomer, and no message is lost.',
  agents: {
    janitor: again.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        queue.receiver().tryTake()
        const prepared = withDead(tools)
        return { ...prepared, receiver: prepared.root.queue.receiver() }
      },
      run({ region, dead, receiver }) {
        region.declareDead(dead)
        return received(receiver, Number.POSITIVE_INFINITY)
      },
    }),
    prover: again.proves(),
    newcomer: again.agent({
      prepare: () => undefined,
      run(_, tools) {
        const { queue } = tools.attach().root
        if (!queue.sender().trySend(messageOf(20))) throw new Error('There is no block')
        return received(queue.receiver(), Number.POSITIVE_INFINITY)
      },
    }),
  },
  check(ending, memory) {
    const received = receivedBy(ending, 'janitor', 'prover', 'newcomer')
    return wrongOutcome(memory, { sent: [10, 20], received })
  },
})

const single = new QueueCase({ blocks: 1, blockBytes: 8, slots: 2 })

export const mpmcSlotLeaver = single.scenario({
  name: 'mpmc-slot-leaver',
  about:
    'A sender has left in peace, and its message is in the only block. A newcomer gets its slot, receives the message, and sends one in the same block, while another sender looks for a block of a peer that is gone: it does not take the block from the newcomer.',
  agents: {
    looker: single.sends(30),
    newcomer: single.agent({
      prepare(tools) {
        const leaver = tools.attach()
        sentOf(leaver.root.queue.sender(), [10])
        leaver.close()
      },
      run(_, tools) {
        const { queue } = tools.attach().root
        const numbers = received(queue.receiver(), 1)
        return { numbers, sent: sentOf(queue.sender(), [20]) }
      },
    }),
  },
  check(ending, memory) {
    const { numbers, sent } = ending.returned('newcomer') as { numbers: number[]; sent: number[] }
    const all = [10, ...sent, ...receivedBy(ending, 'looker').flat()]
    return wrongOutcome(memory, { sent: all, received: [numbers] })
  },
})

export const mpmcDrop = single.scenario({
  name: 'mpmc-drop',
  about:
    'At most once: a peer has died with the message that it had taken, in the only block. Another one declares its death, frees the block, and sends a message in it, while a receiver looks that may be stopped at the position of the old one. The new message is received once, or is left.',
  agents: {
    successor: single.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        queue.receiver().tryTake()
        const prepared = withDead(tools)
        return { ...prepared, receiver: prepared.root.queue.receiver(), sender: prepared.root.queue.sender() }
      },
      run({ region, dead, receiver, sender }) {
        region.declareDead(dead)
        receiver.tryReceive()
        return sentOf(sender, [20])
      },
    }),
    receiver: single.receives(2),
  },
  check(ending, memory) {
    const sent = receivedBy(ending, 'successor').flat()
    return wrongOutcome(memory, { sent, received: receivedBy(ending, 'receiver') })
  },
})

/** Two messages in one block, of which a receiver may be killed with one. */
function packed(name: string, delivery: Delivery, about: string) {
  const of = caseOf(delivery, 2, 32)
  const sent = [10, 11]
  return of.scenario({
    name,
    about,
    mayCrash: ['receiver'],
    agents: {
      receiver: of.agent({
        prepare(tools) {
          const { root } = tools.attach()
          root.queue.sender().trySendBatch(sent.map(messageOf))
          return root
        },
        run: (root) => receiveNoting(root, NOTED_MESSAGES),
      }),
      other: of.receives(1),
      janitor: of.cleansUp(),
    },
    check(ending, memory) {
      const received = receivedBy(ending, 'receiver', 'other', 'janitor')
      if (ending.crashed === undefined) return wrongOutcome(memory, { sent, received })
      if (delivery === 'at-least-once') return wrongAcknowledgement(memory, sent, received)
      // It was given the first one, or both.
      return wrongOutcome(memory, { sent, received, lostMax: memory.note(1) === 0 ? 1 : 2 })
    },
  })
}

export const mpmcPackedCrash = packed(
  'mpmc-packed-crash',
  'at-most-once',
  'At most once: a receiver may be killed at any operation while it takes the two messages of one block. Those that it was given are lost, and none comes twice.',
)

export const mpmcPackedCrashAgain = packed(
  'mpmc-packed-crash-again',
  'at-least-once',
  'At least once: a receiver may be killed at any operation while it takes and acknowledges the two messages of one block. None is lost, and one that it has acknowledged does not come again.',
)

const recovered = new QueueCase({ blocks: 4, blockBytes: 8, slots: 8, delivery: 'at-least-once' }, 1)
const UNDER_REPAIR = 1

export const mpmcRecover = recovered.scenario({
  name: 'mpmc-recover',
  about:
    'The machine stops at any operation of an agent that puts a message back, sends one, and receives one; then the queue is recovered, and another agent receives what there is. What lay in the queue untouched comes, in order, and nothing comes twice; all blocks are free.',
  mayCrash: ['machine'],
  isUnderRepair: (memory) => memory.note(0) === UNDER_REPAIR,
  agents: {
    machine: recovered.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        const sender = queue.sender()
        const receiver = queue.receiver()
        sentOf(sender, [10, 11, 12])
        return { sender, receiver, loan: receiver.tryTake() }
      },
      run({ sender, receiver, loan }) {
        loan?.requeue()
        sentOf(sender, [20])
        receiver.tryReceive()
        receiver.acknowledge()
      },
    }),
    successor: recovered.agent({
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        if (tools.awaitCrash() === undefined) return undefined
        const [note] = region.root.notes
        note.value = UNDER_REPAIR
        tools.layout.recover?.(region, planHeader(tools.layout).rootByteOffset)
        note.value = 0
        return received(tools.attach().root.queue.receiver(), Number.POSITIVE_INFINITY)
      },
    }),
  },
  check(ending, memory) {
    const numbers = ending.returned('successor') as number[] | undefined
    if (numbers === undefined) return undefined
    if (!numbers.includes(12)) return `a message in the queue is lost: received ${numbers.join(' ')}`
    const wrong = wrongOutcome(memory, { sent: [], maybeSent: [10, 11, 12, 20], received: [numbers] })
    const inOrder = [11, 12, 10, 20].filter((number) => numbers.includes(number))
    return wrong ?? (numbers.join() === inOrder.join() ? undefined : `received in the order ${numbers.join(' ')}`)
  },
})

export const crashes = [
  mpmcCrashProducer,
  mpmcCrashConsumer,
  mpmcCrashConsumerAgain,
  mpmcTwoProvers,
  mpmcTwoProversAgain,
  mpmcSlotReuse,
  mpmcSlotLeaver,
  mpmcDrop,
  mpmcPackedCrash,
  mpmcPackedCrashAgain,
  mpmcRecover,
]
