import { fallbackPolling } from '@isthmus/sync/internal'
import type { Scenario } from '../scenario.js'
import {
  barrierBreak,
  barrierDrop,
  barrierJoin,
  barrierJoinAlone,
  barrierJoinSlow,
  barrierLeave,
  barrierPhases,
  barrierThree,
  barrierTwo,
} from './barrier.js'
import { broadcastScenarios } from './broadcast.js'
import { condvarCrash, condvarOne, condvarTimeout, condvarTwoWaiters } from './condvar.js'
import { consumerTakeover, consumerTakeoverFull } from './consumer-takeover.js'
import { eventCount } from './event-count.js'
import { eventCountCrash } from './event-count-crash.js'
import { eventCountTimeout } from './event-count-timeout.js'
import { futexAll, futexCrash, futexMixed, futexTwo } from './futex.js'
import { latestScenarios } from './latest.js'
import { mpmcScenarios } from './mpmc/index.js'
import { mutexThree, mutexTryTimeout, mutexTwo } from './mutex.js'
import { mutexCrash, mutexInconsistent } from './mutex-crash.js'
import { peerReuse } from './peer-reuse.js'
import { peerSlots } from './peer-slots.js'
import {
  rwLockReaderCrash,
  rwLockReaders,
  rwLockTwice,
  rwLockTwo,
  rwLockWriterCrash,
  rwLockWriters,
} from './rw-lock.js'
import { semaphoreCrash, semaphoreOne, semaphoreTimeout, semaphoreTwoPermits } from './semaphore.js'
import { spscTakeover, spscTakeoverChunked } from './spsc-takeover.js'
import { spscTransfers } from './spsc-transfer.js'
import { staleSleeperLoop, staleSleeperReceive, staleSleeperTakeover, staleSleeperThread } from './stale-sleeper.js'
import { waiterSet, waiterSetCrash, waiterSetNotifierCrash, waiterSetNotifiers } from './waiter-set.js'
import {
  wakeUp,
  wakeUpCrash,
  wakeUpLoopCrash,
  wakeUpLoops,
  wakeUpMixed,
  wakeUpMutex,
  wakeUpReceive,
  wakeUpSend,
  wakeUpSuccessor,
  wakeUpTick,
  wakeUpTwoWaits,
} from './wake-up.js'
import {
  wokenAny,
  wokenAnySpace,
  wokenAnyTwo,
  wokenCondvar,
  wokenCrash,
  wokenFragments,
  wokenRw,
  wokenRwMixed,
  wokenWaits,
} from './woken-loops.js'

// A sleep ends only by a wake-up or by the program's own timeout: fallback polling would hide a lost wake-up.
fallbackPolling.sliceMs = Number.POSITIVE_INFINITY
fallbackPolling.handOffMs = Number.POSITIVE_INFINITY

/** Each scenario has a layout of its own, which only its agents know. */
export const scenarios = [
  eventCount,
  eventCountCrash,
  eventCountTimeout,
  wakeUp,
  wakeUpTwoWaits,
  wakeUpTick,
  wakeUpCrash,
  wakeUpSuccessor,
  wakeUpMixed,
  wakeUpLoops,
  wakeUpLoopCrash,
  wakeUpMutex,
  wakeUpReceive,
  wakeUpSend,
  staleSleeperLoop,
  staleSleeperThread,
  staleSleeperReceive,
  staleSleeperTakeover,
  wokenAny,
  wokenAnySpace,
  wokenAnyTwo,
  wokenCondvar,
  wokenCrash,
  wokenFragments,
  wokenRw,
  wokenRwMixed,
  wokenWaits,
  waiterSet,
  waiterSetNotifiers,
  waiterSetCrash,
  waiterSetNotifierCrash,
  peerSlots,
  peerReuse,
  futexTwo,
  futexAll,
  futexMixed,
  futexCrash,
  mutexTwo,
  mutexThree,
  mutexTryTimeout,
  mutexCrash,
  mutexInconsistent,
  condvarOne,
  condvarTwoWaiters,
  condvarTimeout,
  condvarCrash,
  semaphoreOne,
  semaphoreTwoPermits,
  semaphoreTimeout,
  semaphoreCrash,
  rwLockTwo,
  rwLockTwice,
  rwLockReaders,
  rwLockWriters,
  rwLockReaderCrash,
  rwLockWriterCrash,
  barrierTwo,
  barrierPhases,
  barrierThree,
  barrierJoin,
  barrierJoinAlone,
  barrierJoinSlow,
  barrierLeave,
  barrierBreak,
  barrierDrop,
  ...spscTransfers,
  spscTakeover,
  spscTakeoverChunked,
  consumerTakeover,
  consumerTakeoverFull,
  ...mpmcScenarios,
  ...latestScenarios,
  ...broadcastScenarios,
] as unknown as readonly Scenario[]

export function scenarioNamed(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name)
  if (found === undefined) {
    throw new Error(`There is no scenario ${name}. There are ${scenarios.map(({ name }) => name).join(', ')}.`)
  }
  return found
}
