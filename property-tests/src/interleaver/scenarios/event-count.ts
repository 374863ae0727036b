import { Int32Field, type Layout } from '@isthmus/sync'
import { type Condition, EVENT_COUNT_BYTES, EventCount } from '@isthmus/sync/internal'
import { agent, scenario } from '../scenario.js'
import { eventCountNames } from '../word-names.js'

/** A condition, and the event count at which its sleeper and its notifier meet. */
export interface Meeting {
  readonly condition: Int32Field
  readonly events: EventCount
}

export const EVENTS_OFFSET = 8
export const meeting: Layout<Meeting> = {
  byteLength: EVENTS_OFFSET + EVENT_COUNT_BYTES,
  byteAlignment: 8,
  signature: 'interleaver-meeting@1',
  initialize() {},
  attach: (region, byteOffset) => ({
    condition: new Int32Field(region, byteOffset),
    events: new EventCount(region, byteOffset + EVENTS_OFFSET),
  }),
  sweep() {},
}

/** A condition that does not depend on any peer's life. */
export function waitFor(isReady: () => boolean): Condition {
  return { poll: isReady, reapDead() {}, dependsOn: () => [] }
}

const ROUNDS = 2

export const eventCount = scenario({
  name: 'event-count',
  about: 'A sleeper waits for a condition twice, a notifier makes it true twice. No wake-up is lost.',
  layout: meeting,
  wordNames: [{ byteOffset: 0, name: 'condition' }, ...eventCountNames('events', EVENTS_OFFSET)],
  agents: {
    sleeper: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }) {
        for (let round = 1; round <= ROUNDS; round++) {
          events.waitSync(
            waitFor(() => condition.value >= round),
            Number.POSITIVE_INFINITY,
          )
        }
      },
    }),
    notifier: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }) {
        for (let round = 1; round <= ROUNDS; round++) {
          condition.value = round
          events.notify()
        }
      },
    }),
  },
  check: () => undefined,
})
