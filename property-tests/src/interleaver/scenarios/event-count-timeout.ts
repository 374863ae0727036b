import { nowMs } from '@isthmus/sync/internal'
import { agent, scenario } from '../scenario.js'
import { eventCountNames } from '../word-names.js'
import { EVENTS_OFFSET, meeting, waitFor } from './event-count.js'

export const eventCountTimeout = scenario({
  name: 'event-count-timeout',
  about:
    'A sleeper waits with a timeout, which may end its sleep at any time; a notifier makes the condition true once. The sleeper returns whether it saw the condition, and leaves no mark.',
  layout: meeting,
  wordNames: [{ byteOffset: 0, name: 'condition' }, ...eventCountNames('events', EVENTS_OFFSET)],
  hasTimeouts: true,
  agents: {
    sleeper: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run: ({ condition, events }) =>
        events.waitSync(
          waitFor(() => condition.value !== 0),
          nowMs() + 10,
        ),
    }),
    notifier: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }) {
        condition.value = 1
        events.notify()
      },
    }),
  },
  check({ region: { words, rootByteOffset } }) {
    const sleeper = words[(rootByteOffset + EVENTS_OFFSET) / 4]
    return sleeper === 0 ? undefined : `the sleeper has left its mark: ${sleeper}`
  },
})
