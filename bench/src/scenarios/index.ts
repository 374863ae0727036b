import { attachTime } from './attach-time.js'
import { awaitingThroughput } from './awaiting-throughput.js'
import { idleCost } from './idle-cost.js'
import { inProcessOperations } from './in-process-operations.js'
import { latestValue } from './latest-value.js'
import { lockHandoff } from './lock-handoff.js'
import { manyToManyThroughput } from './many-to-many-throughput.js'
import { oneToManyThroughput } from './one-to-many-throughput.js'
import { oneToOneThroughput } from './one-to-one-throughput.js'
import { pingPongLatency } from './ping-pong-latency.js'
import { recoveryTime } from './recovery-time.js'
import type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [
  awaitingThroughput,
  oneToOneThroughput,
  manyToManyThroughput,
  oneToManyThroughput,
  pingPongLatency,
  lockHandoff,
  idleCost,
  attachTime,
  recoveryTime,
  inProcessOperations,
  latestValue,
]
