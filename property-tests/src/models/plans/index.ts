import type { ModelPlan } from '../model-plan.js'
import { broadcastGates, broadcastLossy, broadcastPosition } from './broadcast.js'
import { latest } from './latest.js'
import { queue } from './mpmc-queue.js'
import { pipe } from './pipe.js'
import { waiterSet } from './waiter-set.js'

export const modelPlans: readonly ModelPlan[] = [
  queue,
  pipe,
  waiterSet,
  broadcastLossy,
  broadcastGates,
  broadcastPosition,
  latest,
]
