import { agent, scenario } from '../scenario.js'
import { eventCountNames } from '../word-names.js'
import { EVENTS_OFFSET, meeting, waitFor } from './event-count.js'

export const eventCountCrash = scenario({
  name: 'event-count-crash',
  about:
    'A notifier may crash at any operation, also before it wakes. A successor makes the condition true and notifies: the sleeper wakes up.',
  layout: meeting,
  wordNames: [{ byteOffset: 0, name: 'condition' }, ...eventCountNames('events', EVENTS_OFFSET)],
  mayCrash: ['notifier'],
  agents: {
    sleeper: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run: ({ condition, events }) =>
        events.waitSync(
          waitFor(() => condition.value !== 0),
          Number.POSITIVE_INFINITY,
        ),
    }),
    notifier: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }) {
        condition.value = 1
        events.notify()
      },
    }),
    successor: agent(meeting, {
      prepare: (tools) => tools.attach().root,
      run({ condition, events }, tools) {
        if (tools.awaitCrash() === undefined) return
        condition.value = 2
        events.notify()
      },
    }),
  },
  check: ({ returned }) => (returned('sleeper') === true ? undefined : 'the sleeper returned without the condition'),
})
