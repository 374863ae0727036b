import { oneToOneThroughput } from './one-to-one-throughput.js'
import type { Scenario } from './scenario.js'

export const scenarios: readonly Scenario[] = [oneToOneThroughput]
