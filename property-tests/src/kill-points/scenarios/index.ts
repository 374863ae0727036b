import type { Scenario } from '../scenario.js'
import { barrierScenarios } from './barrier.js'
import { broadcastScenarios } from './broadcast.js'
import { condvarScenarios } from './condvar.js'
import { futexScenarios } from './futex.js'
import { latestScenarios } from './latest.js'
import { mutexScenarios } from './mutex.js'
import { queuePipeScenarios } from './queue-pipe.js'
import { queueReceiverScenarios } from './queue-receiver.js'
import { queueRecoveryScenarios } from './queue-recovery.js'
import { queueSenderScenarios } from './queue-sender.js'
import { ringConsumerScenarios } from './ring-consumer.js'
import { ringProducerScenarios } from './ring-producer.js'
import { rwLockScenarios } from './rw-lock.js'
import { segmentScenarios } from './segment.js'
import { segmentFileScenarios } from './segment-file.js'
import { semaphoreScenarios } from './semaphore.js'
import { waitAnyScenarios } from './wait-any.js'

export const killScenarios: readonly Scenario<unknown>[] = [
  ...segmentScenarios,
  ...segmentFileScenarios,
  ...ringProducerScenarios,
  ...ringConsumerScenarios,
  ...queueSenderScenarios,
  ...queueReceiverScenarios,
  ...queueRecoveryScenarios,
  ...queuePipeScenarios,
  ...latestScenarios,
  ...broadcastScenarios,
  ...mutexScenarios,
  ...condvarScenarios,
  ...semaphoreScenarios,
  ...rwLockScenarios,
  ...barrierScenarios,
  ...futexScenarios,
  ...waitAnyScenarios,
]

export function scenarioNamed(name: string): Scenario<unknown> {
  const found = killScenarios.find((definition) => definition.name === name)
  if (found === undefined) throw new Error(`There is no scenario ${name}`)
  return found
}
