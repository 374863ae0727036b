import { readdirSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import { waitAny } from '@isthmus/sync'
import { manyRings } from '../harness/many-rings.js'
import { serve } from '../harness/serve.js'

/** An agent that waits for many things on its event loop, and measures what that costs. */

const kept: unknown[] = []

serve({
  /** Takes the producer role of every ring, and sleeps. */
  produce({ name }: { name: string }): void {
    const segment = Segment.open(name, manyRings)
    kept.push(segment)
    for (const ring of Object.values(segment.root)) kept.push(ring.producer())
  },

  /** Waits for all of these rings at once, with one `receive` for each. */
  receiveFromAll({ names }: { names: string[] }): void {
    for (const name of names) {
      const segment = Segment.open(name, manyRings)
      kept.push(segment)
      for (const ring of Object.values(segment.root)) {
        const consumer = ring.consumer()
        kept.push(
          consumer,
          consumer.receive().catch(() => {
            // The producer ends with the test.
          }),
        )
      }
    }
  },

  /** The same with one `waitAny`. */
  waitForAny({ names }: { names: string[] }): void {
    const consumers = names.flatMap((name) => {
      const segment = Segment.open(name, manyRings)
      kept.push(segment)
      return Object.values(segment.root).map((ring) => ring.consumer())
    })
    kept.push(waitAny(consumers))
  },

  /** Measures what this process does while it waits. */
  async idle({ forMs }: { forMs: number }) {
    const before = process.cpuUsage()
    const startedMs = performance.now()
    await new Promise((resolve) => setTimeout(resolve, forMs))
    const { user, system } = process.cpuUsage(before)
    return {
      cpuShare: (user + system) / 1000 / (performance.now() - startedMs),
      threads: readdirSync('/proc/self/task').length,
      descriptors: readdirSync('/proc/self/fd').length,
    }
  },
})
