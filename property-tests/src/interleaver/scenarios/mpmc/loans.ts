import { planHeader } from '@isthmus/sync/internal'
import { messageOf, numbersOf, QueueCase, received, receivedBy, sentOf, wrongOutcome } from './queue-case.js'
import { QueueMemory } from './queue-memory.js'

/** Blocks that a program has in its hands: loans, and dead letters. */

const again = new QueueCase({ blocks: 2, blockBytes: 8, slots: 4, delivery: 'at-least-once' })
const again4 = new QueueCase({ blocks: 3, blockBytes: 8, slots: 4, delivery: 'at-least-once' }, 1)

export const mpmcRequeue = again.scenario({
  name: 'mpmc-requeue',
  about:
    'A receiver takes the only message and puts it back, twice; another one looks at the same time, and may be stopped between what it reads and the taking. The message is received once, or is left.',
  agents: {
    requeuer: again.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        return queue.receiver()
      },
      run(receiver) {
        for (let time = 0; time < 2; time++) receiver.tryTake()?.requeue()
      },
    }),
    receiver: again.receives(1),
  },
  check: (ending, memory) => wrongOutcome(memory, { sent: [10], received: receivedBy(ending, 'receiver') }),
})

export const mpmcLoanCrash = again4.scenario({
  name: 'mpmc-loan-crash',
  about:
    'A receiver releases one loan, puts another one back, and discards a block that it had not sent. It may be killed at any operation; its death is declared, and another receiver looks. The released message is gone if the call has returned, the other one is there once, and all blocks come back.',
  mayCrash: ['holder'],
  agents: {
    holder: again4.agent({
      prepare(tools) {
        const { queue, notes } = tools.attach().root
        const sender = queue.sender()
        const receiver = queue.receiver()
        sentOf(sender, [10, 11])
        return { released: receiver.tryTake(), requeued: receiver.tryTake(), unsent: sender.tryLoan(), notes }
      },
      run({ released, requeued, unsent, notes }) {
        unsent?.discard()
        requeued?.requeue()
        notes[0].value = 1
        released?.release()
        notes[0].value = 2
      },
    }),
    receiver: again4.receives(1),
    janitor: again4.cleansUp(),
  },
  check(ending, memory) {
    const received = receivedBy(ending, 'receiver', 'janitor')
    const isThere = [...received.flat(), ...memory.allMessages()].includes(10)
    const releases = memory.note(0)
    if (releases === 2 && isThere) return 'a message that was released came again'
    if (releases === 0 && !isThere) return 'a message is lost that was not released'
    return wrongOutcome(memory, { sent: isThere ? [10, 11] : [11], received })
  },
})

const withDeadLetters = new QueueCase({
  blocks: 2,
  blockBytes: 8,
  slots: 4,
  delivery: 'at-least-once',
  maxDeliveries: 1,
  deadLetters: true,
})

export const mpmcDeadLetters = withDeadLetters.scenario({
  name: 'mpmc-dead-letters',
  about:
    'A message was delivered as often as it may be. Its holder puts it back, and may be killed at any operation: it becomes a dead letter, which a receiver of those, or nobody yet, has got. A receiver of the others does not get it.',
  mayCrash: ['holder'],
  agents: {
    holder: withDeadLetters.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        return queue.receiver().tryTake()
      },
      run(loan) {
        loan?.requeue()
      },
    }),
    receiver: withDeadLetters.receives(1),
    undertaker: withDeadLetters.agent({
      prepare: (tools) => tools.attach().root.queue.deadLetters(),
      run: (receiver) => received(receiver, 1),
    }),
    janitor: withDeadLetters.cleansUp(),
  },
  check(ending, memory) {
    const received = receivedBy(ending, 'undertaker')
    if (receivedBy(ending, 'receiver', 'janitor').flat().length > 0) return 'a message was delivered too often'
    return wrongOutcome(memory, { sent: [10], received })
  },
})

const oneBlockLanes = new QueueCase({ blocks: 1, blockBytes: 8, slots: 2, lanes: 2 })
const lanes = new QueueCase({ blocks: 3, blockBytes: 8, slots: 4, lanes: 2 }, 1)
const reserving = new QueueCase({ blocks: 2, blockBytes: 8, slots: 4, lanes: 2, reserved: 1 })

export const mpmcLanes = lanes.scenario({
  name: 'mpmc-lanes',
  about:
    'A sender sends a message of the low priority, one of the high one, and notes that this call has returned. A receiver that looks after the note gets the one of the high priority. Another sender sends with the low priority meanwhile.',
  agents: {
    sender: lanes.agent({
      prepare: (tools) => {
        const { queue, notes } = tools.attach().root
        return { sender: queue.sender(), notes }
      },
      run({ sender, notes }) {
        sentOf(sender, [10])
        sentOf(sender, [11], 1)
        notes[0].value = 1
      },
    }),
    other: lanes.sends(20),
    receiver: lanes.agent({
      prepare: (tools) => {
        const { queue, notes } = tools.attach().root
        return { receiver: queue.receiver(), notes }
      },
      run({ receiver, notes }) {
        const isSent = notes[0].value === 1
        return { isSent, numbers: received(receiver, 2) }
      },
    }),
  },
  check({ returned }, memory) {
    const { isSent, numbers } = returned('receiver') as { isSent: boolean; numbers: number[] }
    if (isSent && numbers[0] !== 11) return `a message of the high priority had been sent, and ${numbers[0]} came first`
    return wrongOutcome(memory, { sent: [10, 11, 20], received: [numbers] })
  },
})

export const mpmcFairness = lanes.scenario({
  name: 'mpmc-fairness',
  about:
    'A message of the low priority and one of the high one are in the queue, and a sender sends more of the high one. A receiver that is fair after one message gets the high one first, and the low one second.',
  agents: {
    sender: lanes.agent({
      prepare(tools) {
        const sender = tools.attach().root.queue.sender()
        sentOf(sender, [10])
        sentOf(sender, [20], 1)
        return sender
      },
      run: (sender) => [10, 20, ...sentOf(sender, [21, 22], 1)],
    }),
    receiver: lanes.agent({
      prepare: (tools) => tools.attach().root.queue.receiver({ fairness: 1 }),
      run: (receiver) => received(receiver, 3),
    }),
  },
  check(ending, memory) {
    const sent = receivedBy(ending, 'sender').flat()
    const [numbers] = receivedBy(ending, 'receiver')
    if (numbers[0] < 20) return `a message of the high priority was there, and ${numbers[0]} came first`
    if (numbers[1] !== 10) return `the message of the low priority was due, and ${numbers[1]} came`
    return wrongOutcome(memory, { sent, received: [numbers] })
  },
})

export const mpmcLaneChange = oneBlockLanes.scenario({
  name: 'mpmc-lane-change',
  about:
    'The only block goes from one lane to the other, and gets the same position there; two receivers look, of which one may be stopped meanwhile. Each message is received once, or is left.',
  agents: {
    sender: oneBlockLanes.agent({
      prepare(tools) {
        const sender = tools.attach().root.queue.sender()
        sentOf(sender, [10])
        return sender
      },
      run: (sender) => [10, ...sentOf(sender, [11], 1)],
    }),
    receiver: oneBlockLanes.receives(1),
    other: oneBlockLanes.receives(1),
  },
  check(ending, memory) {
    const [sent] = receivedBy(ending, 'sender')
    return wrongOutcome(memory, { sent, received: receivedBy(ending, 'receiver', 'other') })
  },
})

export const mpmcLaneEnded = oneBlockLanes.scenario({
  name: 'mpmc-lane-ended',
  about:
    'The only block was freed by a sender of the low priority that had given it a position when it found that this lane has ended. A sender sends it with the high priority, and a receiver looks that may be stopped at that very position of the other lane, where the block was before. The message is received once, or is left.',
  agents: {
    sender: oneBlockLanes.agent({
      prepare(tools) {
        const region = tools.attach()
        const { queue } = region.root
        sentOf(queue.sender(), [10], 1)
        queue.receiver().tryReceive()
        const { rootByteOffset } = planHeader(oneBlockLanes.layout)
        new QueueMemory({ words: region.words, rootByteOffset }, oneBlockLanes.size).leaveUnpushed(0, 0, 0)
        return queue.sender()
      },
      run: (sender) => sentOf(sender, [20], 1),
    }),
    receiver: oneBlockLanes.receives(2),
  },
  check(ending, memory) {
    const sent = receivedBy(ending, 'sender').flat()
    return wrongOutcome(memory, { sent, received: receivedBy(ending, 'receiver') })
  },
})

export const mpmcReserved = reserving.scenario({
  name: 'mpmc-reserved',
  about:
    'One of two blocks is reserved. A sender blocks to send two messages of the low priority; one of the high priority is sent at the first attempt, at any time. A receiver blocks for all three.',
  agents: {
    sender: reserving.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => [10, 11].filter((number) => sender.sendSync(messageOf(number))),
    }),
    urgent: reserving.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => sentOf(sender, [20], 1),
    }),
    receiver: reserving.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run: (receiver) => [1, 2, 3].flatMap(() => numbersOf(receiver.receiveSync())),
    }),
  },
  check: (ending, memory) => {
    const sent = receivedBy(ending, 'sender', 'urgent').flat()
    if (sent.length < 3) return 'a message of the high priority found no block'
    return wrongOutcome(memory, { sent, received: receivedBy(ending, 'receiver') })
  },
})

export const mpmcReservedWake = reserving.scenario({
  name: 'mpmc-reserved-wake',
  about:
    'A message of the high priority is in the reserved block, and a loan has the other one. Two senders block, one for each priority. The receiver takes the message and blocks for the next: the sender of the high priority is woken, although the other one slept first. Then it gives the loan back, and gets the last message.',
  agents: {
    low: reserving.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => sender.sendSync(messageOf(10)),
    }),
    high: reserving.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => sender.sendSync(messageOf(20), { priority: 1 }),
    }),
    receiver: reserving.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        const sender = queue.sender()
        const loans = [sender.tryLoan({ priority: 1 }), sender.tryLoan({ priority: 1 })]
        // Which of the two is reserved: the one at the higher place.
        const [first, last] = loans.sort((one, other) => (one?.byteOffset ?? 0) - (other?.byteOffset ?? 0))
        last?.send(1)
        return { receiver: queue.receiver(), loan: first }
      },
      run({ receiver, loan }) {
        receiver.tryReceive()
        const numbers = numbersOf(receiver.receiveSync())
        loan?.discard()
        return [...numbers, ...numbersOf(receiver.receiveSync())]
      },
    }),
  },
  check: (ending, memory) => wrongOutcome(memory, { sent: [10, 20], received: receivedBy(ending, 'receiver') }),
})

export const loans = [
  mpmcRequeue,
  mpmcLoanCrash,
  mpmcDeadLetters,
  mpmcLanes,
  mpmcFairness,
  mpmcLaneChange,
  mpmcLaneEnded,
  mpmcReserved,
  mpmcReservedWake,
]
