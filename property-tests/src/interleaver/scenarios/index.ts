import type { Scenario } from '../scenario.js'
import { consumerTakeover } from './consumer-takeover.js'
import { eventCount } from './event-count.js'
import { eventCountCrash } from './event-count-crash.js'
import { peerReuse } from './peer-reuse.js'
import { peerSlots } from './peer-slots.js'
import { spscChunked } from './spsc-chunked.js'
import { spscClose } from './spsc-close.js'
import { spscSendReceive } from './spsc-send-receive.js'
import { spscTakeover } from './spsc-takeover.js'
import { spscWrap } from './spsc-wrap.js'

/** Each is about a layout of its own, which only its own agents need to know. */
export const scenarios = [
  eventCount,
  eventCountCrash,
  peerSlots,
  peerReuse,
  spscSendReceive,
  spscClose,
  spscWrap,
  spscChunked,
  spscTakeover,
  consumerTakeover,
] as unknown as readonly Scenario[]

export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name)
  if (found === undefined) {
    throw new Error(`There is no scenario ${name}. There are ${scenarios.map(({ name }) => name).join(', ')}.`)
  }
  return found
}
