import type { AgentProgram } from '../../scenario.js'
import {
  messageOf,
  type NotedQueue,
  numberOf,
  QueueCase,
  received,
  receivedBy,
  sentOf,
  wrongOrder,
  wrongOutcome,
} from './queue-case.js'

/** Senders and receivers of which none dies. */

/** Three positions before the 32-bit wrap, and the last seq before it wraps, too. */
const LAST_POSITION = 0xfffffffd | 0
const LAST_SEQ = 0x7fffff

const oneBlock = new QueueCase({ blocks: 1, blockBytes: 8, slots: 2 })
const twoBlocks = new QueueCase({ blocks: 2, blockBytes: 8, slots: 4 })
const twoBlocksNoted = new QueueCase({ blocks: 2, blockBytes: 8, slots: 4 }, 1)

export const mpmc2p1c = twoBlocks.scenario({
  name: 'mpmc-2p1c',
  about:
    'Two senders send one message each into two blocks; a receiver looks twice. Each message is received once, or is left.',
  agents: { sender: twoBlocks.sends(10), other: twoBlocks.sends(20), receiver: twoBlocks.receives(2) },
  check: (ending, memory) => wrongOutcome(memory, { sent: [10, 20], received: receivedBy(ending, 'receiver') }),
})

export const mpmc2p1cShared = oneBlock.scenario({
  name: 'mpmc-2p1c-shared',
  about:
    'Two senders that have only one block to send with, in a lane of two slots; a receiver looks twice. What was accepted is received once, or is left. Positions and seq are about to wrap.',
  startPosition: LAST_POSITION,
  startSeq: LAST_SEQ,
  agents: { sender: oneBlock.sends(10), other: oneBlock.sends(20), receiver: oneBlock.receives(2) },
  check(ending, memory) {
    const sent = receivedBy(ending, 'sender', 'other').flat()
    return wrongOutcome(memory, { sent, received: receivedBy(ending, 'receiver') })
  },
})

/** One message is in the queue at the start, and two are sent as far as there are blocks for them. */
function sendsMore(of: QueueCase): AgentProgram<NotedQueue> {
  return of.agent({
    prepare(tools) {
      const sender = tools.attach().root.queue.sender()
      sentOf(sender, [10])
      return sender
    },
    run: (sender) => [10, ...sentOf(sender, [11, 12])],
  })
}

function oneSender(name: string, of: QueueCase, about: string) {
  return of.scenario({
    name,
    about,
    startPosition: LAST_POSITION,
    startSeq: LAST_SEQ,
    agents: { sender: sendsMore(of), receiver: of.receives(1), other: of.receives(2) },
    check(ending, memory) {
      const received = receivedBy(ending, 'receiver', 'other')
      const sent = ending.returned('sender') as number[]
      return wrongOutcome(memory, { sent, received }) ?? wrongOrder(received)
    },
  })
}

export const mpmc1p2c = oneSender(
  'mpmc-1p2c',
  oneBlock,
  'A sender sends messages through the only block, in a lane of two slots; two receivers look for them, so that one may be stopped while the block comes round. Positions and seq are about to wrap.',
)

export const mpmc1p2cTwo = oneSender(
  'mpmc-1p2c-two',
  twoBlocks,
  'A sender sends messages through two blocks, in a lane of four slots; two receivers look for them. Positions and seq are about to wrap.',
)

export const mpmcEmpty = twoBlocksNoted.scenario({
  name: 'mpmc-empty',
  about:
    'A sender sends a message and notes that the call has returned; another sender sends one at the same time. A receiver that looks after that note, and for the first time, finds one.',
  agents: {
    sender: twoBlocksNoted.agent({
      prepare: (tools) => {
        const { queue, notes } = tools.attach().root
        return { sender: queue.sender(), notes }
      },
      run({ sender, notes }) {
        sender.trySend(messageOf(10))
        notes[0].value = 1
      },
    }),
    other: twoBlocksNoted.sends(20),
    receiver: twoBlocksNoted.agent({
      prepare: (tools) => {
        const { queue, notes } = tools.attach().root
        return { receiver: queue.receiver(), notes }
      },
      run({ receiver, notes }) {
        const isSent = notes[0].value === 1
        return { isSent, numbers: received(receiver, 1) }
      },
    }),
  },
  check({ returned }, memory) {
    const { isSent, numbers } = returned('receiver') as { isSent: boolean; numbers: number[] }
    if (isSent && numbers.length === 0) return 'a message had been sent, and the receiver found none'
    return wrongOutcome(memory, { sent: [10, 20], received: [numbers] })
  },
})

/** A receiver that blocks for this many messages. */
export function blocksFor(of: QueueCase, count: number): AgentProgram<NotedQueue> {
  return of.agent({
    prepare: (tools) => tools.attach().root.queue.receiver(),
    run: (receiver) => Array.from({ length: count }, () => numberOf(receiver.receiveSync() ?? new Uint8Array())),
  })
}

/** A sender that blocks until these messages are sent. */
export function blocksToSend(of: QueueCase, ...numbers: number[]): AgentProgram<NotedQueue> {
  return of.agent({
    prepare: (tools) => tools.attach().root.queue.sender(),
    run: (sender) => numbers.filter((number) => sender.sendSync(messageOf(number))),
  })
}

export const mpmcFull = oneBlock.scenario({
  name: 'mpmc-full-and-free',
  about:
    'A sender blocks to send two messages through the only block, and a receiver blocks to receive them. Neither sleeps on beside a message, or beside a free block.',
  agents: { sender: blocksToSend(oneBlock, 10, 11), receiver: blocksFor(oneBlock, 2) },
  check(ending, memory) {
    const received = receivedBy(ending, 'receiver')
    return wrongOutcome(memory, { sent: [10, 11], received }) ?? wrongOrder(received)
  },
})

const threeBlocks = new QueueCase({ blocks: 3, blockBytes: 8, slots: 4 })

export const mpmcTwoSleepers = threeBlocks.scenario({
  name: 'mpmc-two-sleepers',
  about:
    'Two receivers block for one message each, and a third one looks once; a sender sends three. A receiver that was woken for a message that another one has taken sleeps again, and is woken for the next.',
  agents: {
    receiver: blocksFor(threeBlocks, 1),
    other: blocksFor(threeBlocks, 1),
    sender: threeBlocks.sends(10, 11, 12),
    passing: threeBlocks.receives(1),
  },
  check(ending, memory) {
    const received = receivedBy(ending, 'receiver', 'other', 'passing')
    return wrongOutcome(memory, { sent: [10, 11, 12], received })
  },
})

export const mpmcTwoFull = oneBlock.scenario({
  name: 'mpmc-two-full',
  about:
    'Two senders block for the only block; a receiver blocks for both messages. No sender sleeps on beside a free block.',
  agents: { sender: blocksToSend(oneBlock, 10), other: blocksToSend(oneBlock, 20), receiver: blocksFor(oneBlock, 2) },
  check: (ending, memory) => wrongOutcome(memory, { sent: [10, 20], received: receivedBy(ending, 'receiver') }),
})

const oneBlockAgain = new QueueCase({ blocks: 1, blockBytes: 8, slots: 2, delivery: 'at-least-once' })

export const mpmcAcknowledgeFull = oneBlockAgain.scenario({
  name: 'mpmc-acknowledge-full',
  about:
    'At least once: a receiver acknowledges the message in the only block while a sender blocks for one. The sender does not sleep on beside the free block.',
  agents: {
    sender: blocksToSend(oneBlockAgain, 20),
    receiver: oneBlockAgain.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        const receiver = queue.receiver()
        receiver.tryReceive()
        return receiver
      },
      run: (receiver) => receiver.acknowledge(),
    }),
  },
  check: (_, memory) => wrongOutcome(memory, { sent: [20], received: [] }),
})

/** On event loops. */
export const mpmcLoops = oneBlock.scenario({
  name: 'mpmc-loops',
  about:
    'A sender awaits two sends through the only block on its event loop, and a receiver awaits both messages on its own. Neither waits on beside a message, or beside a free block.',
  agents: {
    sender: oneBlock.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      async run(sender) {
        for (const number of [10, 11]) await sender.send(messageOf(number))
      },
    }),
    receiver: oneBlock.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      async run(receiver) {
        const numbers: number[] = []
        while (numbers.length < 2) numbers.push(numberOf((await receiver.receive()) ?? new Uint8Array()))
        return numbers
      },
    }),
  },
  check(ending, memory) {
    const received = receivedBy(ending, 'receiver')
    return wrongOutcome(memory, { sent: [10, 11], received }) ?? wrongOrder(received)
  },
})

export const transfers = [
  mpmc2p1c,
  mpmc2p1cShared,
  mpmc1p2c,
  mpmc1p2cTwo,
  mpmcEmpty,
  mpmcFull,
  mpmcTwoFull,
  mpmcAcknowledgeFull,
  mpmcTwoSleepers,
  mpmcLoops,
]
