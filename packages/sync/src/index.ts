export {
  type Barrier,
  type BarrierDescription,
  type BarrierMemberDescription,
  type BarrierOptions,
  barrier,
} from './barrier/barrier.js'
export type { BarrierMember } from './barrier/barrier-member.js'
export type { OnMemberDeath } from './barrier/barrier-words.js'
export { type Condvar, type CondvarDescription, condvar, type Predicate } from './condvar/condvar.js'
export {
  AbortError,
  CloseError,
  IsthmusError,
  type IsthmusErrorCode,
  IsthmusRangeError,
  IsthmusTypeError,
  PeerDiedError,
} from './errors.js'
export { type Futex, futex } from './futex/futex.js'
export { HeapRegion, type HeapRegionHandle, type HeapRegionOptions } from './heap/heap-region.js'
export type { Signal } from './host/abort.js'
export { array } from './layout/array.js'
export * from './layout/fields.js'
export type { Attached, Layout, WordPair } from './layout/layout.js'
export { struct } from './layout/struct.js'
export { type Mutex, type MutexDescription, mutex } from './mutex/mutex.js'
export type { MutexGuard } from './mutex/mutex-guard.js'
export type { PeerId } from './peers/peer-id.js'
export type { PeerDescription, Peers } from './peers/peers.js'
export type { Region } from './region/region.js'
export type { ReadGuard, WriteGuard } from './rw-lock/rw-guards.js'
export { type RwLock, type RwLockDescription, rwLock } from './rw-lock/rw-lock.js'
export type { Permit } from './semaphore/permit.js'
export {
  type PermitHolder,
  type Semaphore,
  type SemaphoreDescription,
  type SemaphoreOptions,
  semaphore,
} from './semaphore/semaphore.js'
export { type Waitable, waitAny } from './waiting/wait-any.js'
export type { TimeoutOptions, UntimedOptions, WaitOptions } from './waiting/wait-options.js'
