import { type MpmcQueueOptions, mpmcQueue, type Receiver, type Sender } from '@isthmus/ring'
import { HeapRegion } from '@isthmus/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NotPermittedError, PosixQueue } from '../src/harness/posix-queue.js'

/** What an unprivileged process may have of a POSIX queue: /proc/sys/fs/mqueue/msg_max, as it is by default. */
const BLOCKS_MAX = 10
const BLOCK_BYTES = 64
const LANES_MAX = 8
const RUNS = Number(process.env.ISTHMUS_SEQUENCES ?? 200)

interface Step {
  readonly does: 'send' | 'send a loan' | 'receive' | 'take a loan' | 'drain one' | 'send a batch'
  readonly priority: number
  /** Which of the senders, or receivers. */
  readonly handle: number
  readonly byteLength: number
}

const HANDLES = 2
const MESSAGES_PER_BATCH = 4

function stepsOf(lanes: number): fc.Arbitrary<Step[]> {
  const does = fc.constantFrom<Step['does'][]>('send', 'send', 'send a loan', 'receive', 'take a loan', 'drain one')
  const step = fc.record({
    does,
    priority: fc.nat(lanes - 1),
    handle: fc.nat(HANDLES - 1),
    byteLength: fc.integer({ min: 1, max: BLOCK_BYTES }),
  })
  return fc.array(step, { maxLength: 120 })
}

const sizes = fc.record({
  blocks: fc.integer({ min: 1, max: BLOCKS_MAX }),
  lanes: fc.integer({ min: 1, max: LANES_MAX }),
  delivery: fc.constantFrom('at-most-once' as const, 'at-least-once' as const),
})
const scenario = sizes.chain((options) => fc.record({ options: fc.constant(options), steps: stepsOf(options.lanes) }))

/** What a queue is compared to. */
interface Other {
  trySend(message: Uint8Array, priority: number): boolean
  tryReceive(): Uint8Array | undefined
  close(): void
}

const refusal = refusalOfPosixQueues()

describe('A queue with lanes', () => {
  it(`behaves as a POSIX message queue${refusal}`, (context) => {
    if (refusal !== '') return context.skip(refusal)
    let count = 0
    checkBeside(({ blocks }) => new PosixQueue(`/isthmus-test-${process.pid}-${count++}`, blocks, BLOCK_BYTES))
  })

  it('behaves as a list that is sorted by priority', () => {
    checkBeside(({ blocks }) => new SortedList(blocks))
  })

  it('lets urgent messages into its reserved blocks, and no others', () => {
    const reserved = sizes.chain((options) =>
      fc.record({
        options: fc.constant(options),
        reserved: fc.nat(options.blocks - 1),
        steps: stepsOf(options.lanes),
      }),
    )
    let refusals = 0
    fc.assert(
      fc.property(reserved, ({ options, reserved, steps }) => {
        const { senders, receivers } = handlesOf({ ...options, reserved })
        const list = new SortedList(options.blocks)
        const ordinary = options.blocks - reserved
        for (const [at, step] of steps.entries()) {
          if (!step.does.startsWith('send')) {
            expect(received(receivers[0], step)).toEqual(list.tryReceive())
            continue
          }
          const { length } = list
          const isSent = sent(senders[step.handle], step, messageOf(at, step))
          if (step.priority > 0) expect(isSent).toBe(length < options.blocks)
          else if (length < ordinary) expect(isSent).toBe(true)
          else if (list.countOf(0) === ordinary) expect(isSent).toBe(false)
          if (!isSent && length < options.blocks) refusals++
          if (isSent) list.trySend(messageOf(at, step), step.priority)
        }
      }),
      { numRuns: RUNS },
    )
    expect(refusals).toBeGreaterThan(0)
  })

  it('lets no priority starve if it is fair', () => {
    const fair = sizes.chain((options) =>
      fc.record({
        options: fc.constant(options),
        fairness: fc.integer({ min: 1, max: 4 }),
        steps: stepsOf(options.lanes),
      }),
    )
    fc.assert(
      fc.property(fair, ({ options, fairness, steps }) => {
        const { queue, senders } = handlesOf(options)
        const receiver = queue.receiver({ fairness })
        const list = new SortedList(options.blocks)
        let streak = 0
        for (const [at, step] of steps.entries()) {
          if (step.does.startsWith('send')) {
            const message = messageOf(at, step)
            expect(sent(senders[step.handle], step, message)).toBe(list.trySend(message, step.priority))
            continue
          }
          const isDue = streak >= fairness
          const lowest = list.lowest
          const highest = list.highest
          const expected = isDue ? list.tryReceiveLowest() : list.tryReceive()
          expect(received(receiver, step)).toEqual(expected)
          if (expected !== undefined) streak = isDue || highest === 0 || lowest === undefined ? 0 : streak + 1
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('keeps the order of each priority in batches', () => {
    const batches = fc
      .record({ lanes: sizes, packLimit: fc.integer({ min: 1, max: 5 }) })
      .chain(({ lanes, packLimit }) =>
        fc.record({ options: fc.constant({ ...lanes, packLimit }), steps: stepsOf(lanes.lanes) }),
      )
    fc.assert(
      fc.property(batches, ({ options, steps }) => {
        const { senders, receivers } = handlesOf(options)
        const [receiver] = receivers
        const list = new SortedList(Number.POSITIVE_INFINITY)
        const given: Uint8Array[] = []
        for (const [at, step] of steps.entries()) {
          if (step.does.startsWith('send')) {
            const messages = Array.from({ length: MESSAGES_PER_BATCH }, (_, index) => messageOf(at * 8 + index, step))
            const count = senders[step.handle].trySendBatch(messages, { priority: step.priority })
            for (const message of messages.slice(0, count)) list.trySend(message, step.priority)
          }
        }
        for (let message = receiver.tryReceive(); message; message = receiver.tryReceive()) given.push(message)
        const expected: Uint8Array[] = []
        for (let message = list.tryReceive(); message; message = list.tryReceive()) expected.push(message)
        expect(given).toEqual(expected)
      }),
      { numRuns: RUNS },
    )
  })
})

/** Plays the same sequence on both, and compares what each step comes to. */
function checkBeside(make: (options: { blocks: number }) => Other): void {
  const seen = { full: 0, empty: 0, received: 0 }
  fc.assert(
    fc.property(scenario, ({ options, steps }) => {
      const { queue, senders, receivers } = handlesOf(options)
      const other = make(options)
      try {
        for (const [at, step] of steps.entries()) {
          if (step.does.startsWith('send')) {
            const message = messageOf(at, step)
            const isSent = sent(senders[step.handle], step, message)
            expect(isSent).toBe(other.trySend(message, step.priority))
            if (!isSent) seen.full++
            continue
          }
          const message = received(receivers[step.handle], step)
          expect(message).toEqual(other.tryReceive())
          if (message === undefined) seen.empty++
          else seen.received++
        }
        for (let left = other.tryReceive(); left !== undefined; left = other.tryReceive()) {
          expect(receivers[0].tryReceive()).toEqual(left)
          receivers[0].acknowledge()
        }
        for (const receiver of receivers) expect(receiver.tryReceive()).toBeUndefined()
        expect(queue.describe()).toMatchObject({ depth: 0, free: options.blocks })
      } finally {
        other.close()
      }
    }),
    { numRuns: RUNS },
  )
  expect(Math.min(seen.full, seen.empty, seen.received)).toBeGreaterThan(0)
}

function handlesOf(options: Partial<MpmcQueueOptions> & { blocks: number }) {
  const { root: queue } = HeapRegion.create(mpmcQueue({ blockBytes: BLOCK_BYTES, ...options }))
  const senders = Array.from({ length: HANDLES }, () => queue.sender())
  const receivers = Array.from({ length: HANDLES }, () => queue.receiver())
  return { queue, senders, receivers }
}

function sent(sender: Sender, { does, priority }: Step, message: Uint8Array): boolean {
  if (does === 'send') return sender.trySend(message, { priority })
  const loan = sender.tryLoan({ priority })
  if (loan === undefined) return false
  loan.bytes.set(message)
  loan.send(message.length)
  return true
}

function received(receiver: Receiver, { does }: Step): Uint8Array | undefined {
  if (does === 'drain one') {
    let message: Uint8Array | undefined
    receiver.drain(
      (bytes, byteOffset, byteLength) => {
        message = bytes.slice(byteOffset, byteOffset + byteLength)
      },
      { limit: 1 },
    )
    return message
  }
  if (does === 'receive') {
    const message = receiver.tryReceive() ?? undefined
    // Until then, the message keeps its block.
    receiver.acknowledge()
    return message
  }
  const loan = receiver.tryTake()
  if (loan === undefined || loan === null) return undefined
  const message = loan.bytes.slice()
  loan.release()
  return message
}

function messageOf(number: number, { byteLength }: Step): Uint8Array {
  return new Uint8Array(byteLength).fill(number)
}

function refusalOfPosixQueues(): string {
  try {
    new PosixQueue(`/isthmus-test-${process.pid}`, BLOCKS_MAX, BLOCK_BYTES).close()
    return ''
  } catch (error) {
    if (error instanceof NotPermittedError) return `: ${error.message}`
    throw error
  }
}

/** The model: a stable sort of what is there, the highest priority first. */
class SortedList implements Other {
  readonly #limit: number
  #entries: { readonly priority: number; readonly message: Uint8Array }[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get length(): number {
    return this.#entries.length
  }

  get highest(): number | undefined {
    return this.#entries[0]?.priority
  }

  get lowest(): number | undefined {
    return this.#entries.at(-1)?.priority
  }

  countOf(priority: number): number {
    return this.#entries.filter((entry) => entry.priority === priority).length
  }

  trySend(message: Uint8Array, priority: number): boolean {
    if (this.#entries.length >= this.#limit) return false
    this.#entries = [...this.#entries, { priority, message }].sort((a, b) => b.priority - a.priority)
    return true
  }

  tryReceive(): Uint8Array | undefined {
    return this.#entries.shift()?.message
  }

  tryReceiveLowest(): Uint8Array | undefined {
    const at = this.#entries.findIndex(({ priority }) => priority === this.lowest)
    return at === -1 ? undefined : this.#entries.splice(at, 1)[0].message
  }

  close(): void {}
}
