import { type Consumer, IncompleteMessageError } from '@isthmus/ring'
import { AttachedRegion } from '@isthmus/sync/internal'
import { numberedMessage, numberOf } from '../harness/messages.js'
import { mortalLayout } from '../harness/mortal-layout.js'
import { attachTo, type RegionReference } from '../harness/regions.js'
import { serve } from '../harness/serve.js'

/**
 * An agent that works until it is killed. It counts what it has done in shared memory, since it cannot answer
 * afterwards.
 */

interface Task {
  readonly region: RegionReference
  readonly capacityBytes: number
  readonly seed: number
}

const kept: unknown[] = []

/** Receives a message; undefined for an unfinished one, since the producer gives up now and then. */
function receiveWhole(consumer: Consumer): Uint8Array | undefined {
  try {
    return consumer.receiveSync() ?? undefined
  } catch (error) {
    if (error instanceof IncompleteMessageError) return undefined
    throw error
  }
}

serve({
  /** Sends numbered messages until it is killed: small ones, and large ones in fragments. */
  produce({ region, capacityBytes, seed, from }: Task & { from: number }): void {
    const { ring, committed } = attachTo(region, mortalLayout(capacityBytes)).root
    const producer = ring.producer()
    // A predecessor that was killed between its last commit and its note left the note one behind.
    committed.value = from
    for (let number = from; ; number++) {
      producer.sendSync(numberedMessage(seed, number, capacityBytes))
      committed.value = number + 1
    }
  },

  /** Receives numbered messages until it is killed, and checks them. */
  consume({ region, capacityBytes, seed }: Task): void {
    const { ring, received, damaged } = attachTo(region, mortalLayout(capacityBytes)).root
    const consumer = ring.consumer()
    for (;;) {
      const message = receiveWhole(consumer)
      if (message === undefined) continue
      const number = numberOf(message)
      const expected = numberedMessage(seed, number, capacityBytes)
      if (Buffer.compare(message, expected) !== 0) damaged.add(1)
      received.value = number + 1
    }
  },

  /** Takes a role and keeps it. */
  hold({ region, capacityBytes, role }: Task & { role: 'producer' | 'consumer' }): void {
    const attached = attachTo(region, mortalLayout(capacityBytes))
    kept.push(attached, attached.root.ring[role]())
  },

  /** Tries to take a role at the same moment as other agents: when the word `start` has the race's number. */
  race({ region, capacityBytes, role, turn }: Task & { role: 'producer' | 'consumer'; turn: number }): string {
    const attached = attachTo(region, mortalLayout(capacityBytes))
    const { ring, start } = attached.root
    const deadline = performance.now() + 30_000
    while (start.value !== turn) if (performance.now() > deadline) throw new Error('The race never started')
    try {
      kept.push(attached, ring[role]())
      return 'won'
    } catch (error) {
      attached.close()
      return (error as { code: string }).code
    }
  },

  release(): void {
    for (const thing of kept.splice(0)) if (thing instanceof AttachedRegion) thing.close()
  },
})
