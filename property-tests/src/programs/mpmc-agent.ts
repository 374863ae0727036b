import type { MpmcQueueOptions } from '@isthmus/ring'
import { planHeader } from '@isthmus/sync/internal'
import { messageOf, noteOf, valueIn } from '../harness/mpmc-delivery.js'
import { historyLayout, mortalQueueLayout, NOTES_MAX } from '../harness/mpmc-layout.js'
import { type AgentLog, type Command, MpmcPlayer } from '../harness/mpmc-scripts.js'
import { MpmcWatch } from '../harness/mpmc-watch.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { serve } from '../harness/serve.js'

/** An agent that sends to a queue and receives from it: what a script says, or until it is killed. */

interface Part {
  readonly region: RegionReference
  readonly options: MpmcQueueOptions
  readonly agent: number
}

interface Play extends Part {
  readonly commands: readonly Command[]
  readonly rounds: number
  readonly originNs: bigint
  /** The agents begin when the word `start` has this value. */
  readonly turn: number
}

interface Mortal extends Part {
  readonly senders: number
  readonly receivers: number
}

/** So many that a sender is killed before, as a rule; and all of them together fit into the notes. */
const MESSAGES_MAX = 50_000
const MESSAGES_PER_PAUSE = 6
const START_TIMEOUT_MS = 30_000

/** A wait of this length asks whether the test is still there. */
const PATIENCE_MS = 1_000
const parentPid = process.ppid
const sleeper = new Int32Array(new SharedArrayBuffer(4))

async function play(part: Play, isDraining: boolean): Promise<AgentLog> {
  const { region: reference, options, agent, commands, rounds, originNs, turn } = part
  const layout = historyLayout(options)
  using region = attachTo(reference, layout)
  const { queue, start } = region.root
  const sender = queue.sender()
  const receiver = queue.receiver()
  const watch = new MpmcWatch(sender.words, planHeader(layout).rootByteOffset, options)
  try {
    const player = new MpmcPlayer({ sender, receiver }, watch, options, agent, originNs)
    const deadline = performance.now() + START_TIMEOUT_MS
    while (start.value !== turn) if (performance.now() > deadline) throw new Error('The start was never given')
    for (let round = 0; round < rounds; round++) for (const command of commands) await player.play(command)
    await player.finish()
    if (isDraining) await player.drain()
    return player.log
  } finally {
    watch.end()
  }
}

serve({
  play: (part: Play) => play(part, false),
  /** Receives until the queue is empty. */
  drain: (part: Play) => play({ ...part, commands: [], rounds: 0 }, true),

  /** Sends numbered messages until it is killed, in batches of this size. */
  send({ region: reference, options, agent, senders, receivers, batch }: Mortal & { batch: number }): void {
    const { queue, sent } = attachTo(reference, mortalQueueLayout(options, senders, receivers)).root
    const sender = queue.sender()
    for (let number = 0; number < MESSAGES_MAX; number += batch) {
      const messages = Array.from({ length: batch }, (_, at) => messageOf({ sender: agent, number: number + at }))
      for (let count = 0; count < batch; exitIfOrphaned()) {
        if (batch > 1) count += sender.sendBatchSync(messages.slice(count), { timeoutMs: PATIENCE_MS })
        else count += Number(sender.sendSync(messages[0], { timeoutMs: PATIENCE_MS }))
      }
      sent[agent].value = number + batch
    }
    waitForKill()
  },

  /** Receives until it is killed, and notes each message before it acknowledges it, or releases its loan. */
  receive({ region: reference, options, agent, senders, receivers, isLending }: Mortal & { isLending: boolean }): void {
    const { queue, notes, noted } = attachTo(reference, mortalQueueLayout(options, senders, receivers)).root
    const receiver = queue.receiver()
    const own = notes[agent]
    const note = (message: Uint8Array, count: number): void => {
      // Some take a while: most kills come before their note, or between the note and what acknowledges it.
      if (count % MESSAGES_PER_PAUSE === 1) pause()
      own[count] = noteOf(valueIn(new DataView(message.buffer, message.byteOffset, message.byteLength)))
      noted[agent].value = count + 1
      if (count % MESSAGES_PER_PAUSE === 0) pause()
    }
    for (let count = 0; count < NOTES_MAX; exitIfOrphaned()) {
      if (isLending) {
        const loan = receiver.tryTake()
        if (loan === undefined || loan === null) {
          pause()
          continue
        }
        note(loan.bytes, count++)
        loan.release()
      } else {
        const message = receiver.receiveSync({ timeoutMs: PATIENCE_MS })
        if (message !== undefined && message !== null) note(message, count++)
      }
    }
    waitForKill()
  },
})

function pause(timeoutMs = 1): void {
  Atomics.wait(sleeper, 0, 0, timeoutMs)
}

function waitForKill(): never {
  for (;;) {
    pause(PATIENCE_MS)
    exitIfOrphaned()
  }
}

/** A busy thread is not told that its test has been killed. */
function exitIfOrphaned(): void {
  if (process.ppid !== parentPid) process.exit()
}
