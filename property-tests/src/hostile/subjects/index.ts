import type { Subject } from '../subject.js'
import { broadcastRecovery, broadcastSubject, hostileSubscriber, hostileSubscriberWithoutGates } from './broadcast.js'
import { floodedRing } from './flooded-ring.js'
import { latestRecovery, latestSubject } from './latest.js'
import {
  barrierBreak,
  barrierDrop,
  condvarSubject,
  futexSubject,
  mutexSubject,
  rwLockSubject,
  semaphoreSubject,
} from './locks.js'
import { peers } from './peers.js'
import { queueAtLeastOnce, queueAtMostOnce } from './queue.js'
import { queueRecovery } from './queue-recovery.js'
import { recovery } from './recovery.js'
import { ring } from './ring.js'

export const subjects: readonly Subject[] = [
  ring,
  floodedRing,
  recovery,
  queueAtMostOnce,
  queueAtLeastOnce,
  queueRecovery,
  latestSubject,
  latestRecovery,
  broadcastSubject,
  broadcastRecovery,
  hostileSubscriber,
  hostileSubscriberWithoutGates,
  peers,
  mutexSubject,
  condvarSubject,
  semaphoreSubject,
  rwLockSubject,
  barrierBreak,
  barrierDrop,
  futexSubject,
]

export function subjectNamed(name: string): Subject {
  const found = subjects.find((subject) => subject.name === name)
  if (found === undefined) throw new Error(`There is no subject ${name}`)
  return found
}
