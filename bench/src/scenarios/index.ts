import { lockHandoff } from './lock-handoff.js'
import { oneToOneThroughput } from './one-to-one-throughput.js'
import { pingPongLatency } from './ping-pong-latency.js'
import type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [oneToOneThroughput, pingPongLatency, lockHandoff]
