import type { MpmcQueueOptions } from '@isthmus/ring'
import { IsthmusError } from '@isthmus/sync'
import { messageOf, numbersOf, QueueCase, receivedBy, sentOf, wrongOutcome } from './queue-case.js'
import type { QueueMemory } from './queue-memory.js'

/** The end of a queue: sends, messages that come back, and reopening. */

type Delivery = NonNullable<MpmcQueueOptions['delivery']>

const caseOf = (delivery: Delivery): QueueCase => new QueueCase({ blocks: 2, blockBytes: 8, slots: 4, delivery }, 1)
const once = caseOf('at-most-once')
const again = caseOf('at-least-once')

interface Received {
  readonly numbers: number[]
  readonly hasEnded: boolean
}

/** Looks this often, or until the end. */
const looks = (of: QueueCase, times: number) =>
  of.agent({
    prepare: (tools) => tools.attach().root.queue.receiver(),
    run(receiver): Received {
      const numbers: number[] = []
      for (let time = 0; time < times; time++) {
        const message = receiver.tryReceive()
        if (message === null) return { numbers, hasEnded: true }
        numbers.push(...numbersOf(message))
      }
      receiver.acknowledge()
      return { numbers, hasEnded: false }
    },
  })

const ends = (of: QueueCase) =>
  of.agent({
    prepare: (tools) => tools.attach().root.queue,
    run: (queue) => queue.end(),
  })

function wrongEnd(memory: QueueMemory, { hasEnded }: Received): string | undefined {
  const left = [...memory.allMessages(), ...memory.orphans()]
  return hasEnded && left.length > 0 ? `a receiver was told of the end, and ${left.join(' ')} came after it` : undefined
}

export const mpmcEndVsSend = once.scenario({
  name: 'mpmc-end-vs-send',
  about:
    'A sender sends two messages, and another agent ends the queue. A receiver looks three times. What was accepted is received before the end, or is left; what was not is not there.',
  agents: {
    sender: once.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run(sender) {
        const sent: number[] = []
        try {
          for (const number of [10, 11]) if (sender.trySend(messageOf(number))) sent.push(number)
        } catch (error) {
          if (!(error instanceof IsthmusError) || error.code !== 'ERR_ISTHMUS_CLOSED') throw error
        }
        return sent
      },
    }),
    ender: ends(once),
    receiver: looks(once, 3),
  },
  check(ending, memory) {
    const received = ending.returned('receiver') as Received
    if (!memory.hasEnded()) return 'the queue has not ended'
    const [sent] = receivedBy(ending, 'sender')
    return wrongEnd(memory, received) ?? wrongOutcome(memory, { sent, received: [received.numbers] })
  },
})

function endVsRequeue(name: string, of: QueueCase, about: string) {
  return of.scenario({
    name,
    about,
    agents: {
      holder: of.agent({
        prepare(tools) {
          const { queue } = tools.attach().root
          sentOf(queue.sender(), [10])
          const loan = queue.receiver().tryTake()
          queue.end()
          return loan
        },
        run(loan) {
          loan?.requeue()
        },
      }),
      receiver: looks(of, 2),
      other: looks(of, 1),
    },
    check(ending, memory) {
      const both = ['receiver', 'other'].map((agent) => ending.returned(agent) as Received)
      if (!memory.hasEnded()) return 'the queue is open again'
      const received = [...both.map(({ numbers }) => numbers), memory.orphans()]
      const strays = memory.strays().filter((stray) => !stray.includes('ORPHAN'))
      return (
        (of === again ? both.map((one) => wrongEnd(memory, one)).find((one) => one !== undefined) : undefined) ??
        (strays.length > 0 ? `at the end, ${strays.join(', ')}` : undefined) ??
        wrongMessages(memory, [10], received)
      )
    },
  })
}

/** Orphans that no peer would look for. */
function forgotten(memory: QueueMemory): string | undefined {
  const orphans = memory.orphans()
  return orphans.length === 0 || memory.isLookDue ? undefined : `no peer looks for the orphans ${orphans.join(' ')}`
}

function wrongMessages(memory: QueueMemory, sent: readonly number[], received: readonly (readonly number[])[]) {
  const all = [...received.flat(), ...memory.allMessages()].sort()
  return all.join() === sent.join() ? undefined : `sent ${sent.join(' ')}; received or left ${all.join(' ')}`
}

export const mpmcEndVsRequeue = endVsRequeue(
  'mpmc-end-vs-requeue',
  again,
  'At least once: the queue has ended, and the holder of the last message puts it back; two receivers look. It is received once, or is left, and no receiver is told of the end before. The queue is not open again.',
)

export const mpmcEndVsRequeueOnce = endVsRequeue(
  'mpmc-end-vs-requeue-once',
  once,
  'At most once: the queue has ended, and the holder of the last message puts it back; two receivers look. It is received once, or is left. The queue is not open again.',
)

export const mpmcEndCrash = again.scenario({
  name: 'mpmc-end-crash',
  about:
    'At least once: the queue has ended, and the holder of the last message acknowledges it; it may be killed at any operation. A receiver that blocks for messages gets it if it was not acknowledged, and then the end.',
  mayCrash: ['holder'],
  agents: {
    holder: again.agent({
      prepare(tools) {
        const { queue, notes } = tools.attach().root
        sentOf(queue.sender(), [10])
        const receiver = queue.receiver()
        receiver.tryReceive()
        queue.end()
        return { receiver, notes }
      },
      run({ receiver, notes }) {
        notes[0].value = 1
        receiver.acknowledge()
        notes[0].value = 2
      },
    }),
    receiver: again.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run: (receiver) => [...receiver].map((message) => message[0]),
    }),
    janitor: again.agent({
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return
        region.declareDead(dead)
        tools.endSlices()
      },
    }),
  },
  check(ending, memory) {
    const [numbers] = receivedBy(ending, 'receiver')
    const acknowledgement = memory.note(0)
    if (acknowledgement === 2 && numbers.length > 0) return 'the message was acknowledged, and came again'
    if (acknowledgement === 0 && numbers.length === 0) return 'the message was not acknowledged, and is lost'
    return wrongOutcome(memory, { sent: numbers, received: [numbers] })
  },
})

export const mpmcReopen = again.scenario({
  name: 'mpmc-reopen',
  about:
    'At least once: the queue has ended, and the holder of the last message puts it back while another agent reopens the queue and sends. Both messages are received once, or are left; the queue stays open.',
  agents: {
    holder: again.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        sentOf(queue.sender(), [10])
        const loan = queue.receiver().tryTake()
        queue.end()
        return loan
      },
      run(loan) {
        loan?.requeue()
      },
    }),
    opener: again.agent({
      prepare: (tools) => {
        const { queue } = tools.attach().root
        return { queue, sender: queue.sender() }
      },
      run({ queue, sender }) {
        queue.reopen()
        return sentOf(sender, [20])
      },
    }),
    receiver: looks(again, 1),
  },
  check(ending, memory) {
    const { numbers } = ending.returned('receiver') as Received
    if (memory.hasEnded()) return 'the queue has ended again'
    const strays = memory.strays().filter((stray) => !stray.includes('ORPHAN'))
    if (strays.length > 0) return `at the end, ${strays.join(', ')}`
    return forgotten(memory) ?? wrongMessages(memory, [10, 20], [numbers, memory.orphans()])
  },
})

const packedAgain = new QueueCase({ blocks: 2, blockBytes: 32, slots: 4, delivery: 'at-least-once' })

export const mpmcEndPacked = packedAgain.scenario({
  name: 'mpmc-end-packed',
  about:
    'At least once: the queue has ended. The holder of two messages of one block puts the first one back, in a block of its own, and releases the other one; then it leaves. A receiver that is told of the end has got what was put back.',
  agents: {
    holder: packedAgain.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        queue.sender().trySendBatch([messageOf(10), messageOf(11)])
        const receiver = queue.receiver()
        const loans = { requeued: receiver.tryTake(), released: receiver.tryTake() }
        queue.end()
        return loans
      },
      run({ requeued, released }) {
        requeued?.requeue()
        released?.release()
      },
    }),
    receiver: looks(packedAgain, 2),
  },
  check(ending, memory) {
    const received = ending.returned('receiver') as Received
    return wrongEnd(memory, received) ?? wrongMessages(memory, [10], [received.numbers, memory.orphans()])
  },
})

export const endings = [mpmcEndVsSend, mpmcEndVsRequeue, mpmcEndVsRequeueOnce, mpmcEndPacked, mpmcEndCrash, mpmcReopen]
