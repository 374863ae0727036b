import type { Field } from './field.js'
import { barrierField } from './fields/barrier.js'
import { broadcastField } from './fields/broadcast.js'
import { condvarField } from './fields/condvar.js'
import { latestField } from './fields/latest.js'
import { loopsField } from './fields/loops.js'
import { mutexField } from './fields/mutex.js'
import { queueFields } from './fields/queues.js'
import { ringsField } from './fields/rings.js'
import { rwLockField } from './fields/rw-lock.js'
import { segmentsField } from './fields/segments.js'
import { semaphoreField } from './fields/semaphore.js'

export const fields: readonly Field[] = [
  ringsField,
  ...queueFields,
  mutexField,
  rwLockField,
  semaphoreField,
  condvarField,
  barrierField,
  latestField,
  broadcastField,
  segmentsField,
  loopsField,
]
