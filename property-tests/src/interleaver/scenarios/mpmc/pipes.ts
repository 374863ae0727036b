import type { Receiver, Sender } from '@isthmus/ring'
import { IsthmusError } from '@isthmus/sync'
import type { AgentProgram } from '../../scenario.js'
import { type NotedQueue, QueueCase, receivedBy, wrongOutcome } from './queue-case.js'
import type { QueueMemory } from './queue-memory.js'

/** Messages that are larger than a block. */

/** With blocks of this size, a message of one byte more goes out in five parts: four fill the pipe. */
const BLOCK_BYTES = 3072
const LARGE_BYTES = BLOCK_BYTES + 1
const PIPES = { blockBytes: BLOCK_BYTES, slots: 2, maxMessageBytes: LARGE_BYTES }

const once = new QueueCase({ ...PIPES, blocks: 1 })
const again = new QueueCase({ ...PIPES, blocks: 1, delivery: 'at-least-once' })

const larges = new Map([10, 11, 20].map((number) => [number, largeOf(number)]))

/** Each byte depends on its place, and the first one is the number. */
function largeOf(number: number): Uint8Array {
  return Uint8Array.from({ length: LARGE_BYTES }, (_, at) => number + at * 31 + (at >> 8))
}

function numberOf(message: Uint8Array): number {
  const [number] = message
  const whole = message.length === LARGE_BYTES ? larges.get(number) : Uint8Array.of(number)
  return whole !== undefined && Buffer.compare(message, whole) === 0 ? number : -1
}

const EXPECTED = ['ERR_ISTHMUS_MESSAGE_INCOMPLETE', 'ERR_ISTHMUS_PEER_DIED', 'ERR_ISTHMUS_CLOSED']

/** What a call tells of a large message that has come to nothing: the code of its error. Other errors are thrown. */
function outcomeOf<R>(call: () => R): R | string {
  try {
    return call()
  } catch (error) {
    return codeOf(error)
  }
}

function codeOf(error: unknown): string {
  const code = error instanceof IsthmusError ? error.code : undefined
  if (code !== undefined && EXPECTED.includes(code)) return code
  throw error
}

function sendLarge(sender: Sender, number: number, timeoutMs?: number): boolean | string {
  const message = larges.get(number) as Uint8Array
  return outcomeOf(() => sender.sendSync(message, timeoutMs === undefined ? {} : { timeoutMs }))
}

/** Blocks for messages until the end, and acknowledges each of them. Large ones that break off are left out. */
function receiveToEnd(receiver: Receiver): number[] {
  const numbers: number[] = []
  for (;;) {
    const message = outcomeOf(() => receiver.receiveSync())
    if (message === null) return numbers
    if (typeof message !== 'string') numbers.push(numberOf(message))
    receiver.acknowledge()
  }
}

/** Sends one large message; then ends the queue. */
function sendsToEnd(of: QueueCase, timeoutMs?: number): AgentProgram<NotedQueue> {
  return of.agent({
    prepare: (tools) => {
      const { queue } = tools.attach().root
      return { queue, sender: queue.sender() }
    },
    run({ queue, sender }) {
      const outcome = sendLarge(sender, 10, timeoutMs)
      queue.end()
      return outcome
    },
  })
}

const receivesToEnd = (of: QueueCase): AgentProgram<NotedQueue> =>
  of.agent({
    prepare: (tools) => tools.attach().root.queue.receiver(),
    run: (receiver) => receiveToEnd(receiver),
  })

/** Takes the message that is there, and gives it up if it is not whole yet. Returns what it has got. */
function skip(receiver: Receiver): number[] {
  const message = outcomeOf(() => receiver.tryReceive())
  receiver.acknowledge()
  receiver.skipMessage()
  return message instanceof Uint8Array ? [numberOf(message)] : []
}

/** What was sent was received, and nothing twice. */
function wrongTransfer(memory: QueueMemory, outcome: unknown, received: readonly (readonly number[])[]) {
  if (outcome === true) return wrongOutcome(memory, { sent: [10], received })
  return wrongOutcome(memory, { sent: [], maybeSent: [10], received })
}

export const mpmcPipe = once.scenario({
  name: 'mpmc-pipe',
  about:
    'At most once: a sender blocks to send a message that is larger than the only block, and a receiver blocks to receive it. The sender may give up waiting. Neither sleeps on beside bytes, beside space, or after the other one has left; the block is free in the end.',
  hasTimeouts: true,
  agents: { sender: sendsToEnd(once, 1), receiver: receivesToEnd(once) },
  check: (ending, memory) => wrongTransfer(memory, ending.returned('sender'), receivedBy(ending, 'receiver')),
})

export const mpmcPipeSkipped = once.scenario({
  name: 'mpmc-pipe-skipped',
  about:
    'At most once: a receiver takes a large message and gives it up, while its sender may give up waiting. Either of the two may leave the block first; the one that leaves it last frees it.',
  hasTimeouts: true,
  agents: {
    sender: once.agent({
      prepare: (tools) => tools.attach().root.queue.sender(),
      run: (sender) => sendLarge(sender, 10, 1),
    }),
    receiver: once.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run: (receiver) => skip(receiver),
    }),
  },
  // The last bytes may be in the block, though no receiver has got them.
  check: (ending, memory) =>
    wrongOutcome(memory, { sent: [], maybeSent: [10], received: receivedBy(ending, 'receiver') }),
})

export const mpmcPipeTimedOut = again.scenario({
  name: 'mpmc-pipe-timed-out',
  about:
    'At least once: a sender may give up waiting for the acknowledgement of its large message, while its receiver acknowledges it. It does not send again what was acknowledged.',
  hasTimeouts: true,
  agents: { sender: sendsToEnd(again, 1), receiver: receivesToEnd(again) },
  check: (ending, memory) => wrongTransfer(memory, ending.returned('sender'), receivedBy(ending, 'receiver')),
})

export const mpmcPipeLeft = again.scenario({
  name: 'mpmc-pipe-left',
  about:
    'At least once: a receiver takes a large message, gives it up, and receives it later. It wakes the sender before the block is an orphan, and not after that; so the sender polls, and sends the message again.',
  hasTimeouts: true,
  agents: {
    sender: sendsToEnd(again),
    receiver: again.agent({
      prepare: (tools) => tools.attach().root.queue.receiver(),
      run: (receiver) => [...skip(receiver), ...receiveToEnd(receiver)],
    }),
  },
  check(ending, memory) {
    if (ending.returned('sender') !== true) return 'a message was not sent'
    return wrongTransfer(memory, true, receivedBy(ending, 'receiver'))
  },
})

export const mpmcPipeAgain = again.scenario({
  name: 'mpmc-pipe-again',
  about:
    'At least once: a large message is sent on an event loop, whose own receiver takes it and gives it up; so it is sent again from its first byte. Another receiver blocks for it, and may have looked at the block before. It gets the message whole.',
  hasTimeouts: true,
  agents: {
    loop: again.agent({
      prepare(tools) {
        const { queue } = tools.attach().root
        return { queue, sender: queue.sender(), receiver: queue.receiver() }
      },
      async run({ queue, sender, receiver }) {
        const skipping = receiver.receiveChunk().then(() => receiver.skipMessage())
        const isSent = await sender.send(larges.get(10) as Uint8Array)
        queue.end()
        await skipping
        return isSent
      },
    }),
    receiver: receivesToEnd(again),
  },
  check(ending, memory) {
    if (ending.returned('loop') !== true) return 'a message was not sent'
    return wrongTransfer(memory, true, receivedBy(ending, 'receiver'))
  },
})

/** One side may be killed at any operation; the other one, or a janitor, frees what it had. */
function crash(name: string, of: QueueCase, mortal: 'sender' | 'receiver', about: string) {
  return of.scenario({
    name,
    about,
    mayCrash: [mortal],
    agents: {
      sender: of.agent({
        prepare: (tools) => tools.attach().root.queue.sender(),
        run: (sender) => sendLarge(sender, 10),
      }),
      receiver: of.agent({
        prepare: (tools) => tools.attach().root.queue.receiver(),
        run(receiver) {
          const message = outcomeOf(() => receiver.receiveSync())
          receiver.acknowledge()
          return message instanceof Uint8Array ? [numberOf(message)] : []
        },
      }),
      janitor: of.agent({
        prepare: (tools) => tools.attach(),
        run(region, tools) {
          const dead = tools.awaitCrash()
          if (dead === undefined) return []
          region.declareDead(dead)
          tools.endSlices()
          region.root.queue.end()
          return receiveToEnd(region.root.queue.receiver())
        },
      }),
    },
    check(ending, memory) {
      const received = receivedBy(ending, 'receiver', 'janitor')
      const isSent = ending.returned('sender') === true
      const wrong = wrongOutcome(memory, { sent: [], maybeSent: [10], received })
      if (wrong !== undefined || !isSent || ending.crashed !== undefined) return wrong
      return received.flat().length === 1 ? undefined : 'a message was sent, and not received'
    },
  })
}

export const mpmcPipeCrashSender = crash(
  'mpmc-pipe-crash-sender',
  once,
  'sender',
  'At most once: the sender of a large message may be killed at any operation. Its receiver is told that the message breaks off, or that the queue has ended, and the block is free in the end.',
)

export const mpmcPipeCrashReceiver = crash(
  'mpmc-pipe-crash-receiver',
  again,
  'receiver',
  'At least once: the receiver of a large message may be killed at any operation. Its sender takes the block back, and sends the message to a janitor, or is told that the queue has ended; the block is free in the end.',
)

export const pipes = [
  mpmcPipe,
  mpmcPipeSkipped,
  mpmcPipeTimedOut,
  mpmcPipeLeft,
  mpmcPipeAgain,
  mpmcPipeCrashSender,
  mpmcPipeCrashReceiver,
]
