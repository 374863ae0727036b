export {
  type Barrier,
  type BarrierDescription,
  type BarrierMemberDescription,
  type BarrierOptions,
  barrier,
  type OnMemberDeath,
} from './barrier/barrier.js'
export type { BarrierMember } from './barrier/barrier-member.js'
export { isSharedArrayBuffer, isUint8Array } from './brands.js'
export { type Condvar, type CondvarDescription, condvar, type Predicate } from './condvar/condvar.js'
export * from './errors.js'
export { type Futex, futex } from './futex/futex.js'
export * from './layout/fields.js'
export {
  type Attached,
  alignUp,
  assertLayout,
  type Layout,
  MAX_ALIGNMENT,
  subjectOf,
  type WordPair,
} from './layout/layout.js'
export { struct } from './layout/struct.js'
export { type Mutex, type MutexDescription, mutex } from './mutex/mutex.js'
export type { MutexGuard } from './mutex/mutex-guard.js'
export { LivenessCheckThrottle } from './peers/liveness-check-throttle.js'
export { generationOf, MAX_PEERS, type PeerId, slotOf } from './peers/peer-id.js'
export { PeerTable, type Sweep } from './peers/peer-table.js'
export type { Liveness, LoopAddress, LoopId, PeerDescription, PeerIdentity, Peers } from './peers/peers.js'
export { AttachedRegion, type Attachment, type Memory } from './region/attached-region.js'
export * from './region/header.js'
export { HeapRegion, type HeapRegionHandle, type HeapRegionOptions } from './region/heap-region.js'
export { assertOpen, closedError, type Region } from './region/region.js'
export type { ReadGuard, WriteGuard } from './rw-lock/rw-guards.js'
export { type RwLock, type RwLockDescription, rwLock } from './rw-lock/rw-lock.js'
export {
  type Permit,
  type PermitHolder,
  type Semaphore,
  type SemaphoreDescription,
  type SemaphoreOptions,
  semaphore,
} from './semaphore/semaphore.js'
export { onAbort } from './waiting/abort.js'
export { beforeSleep, type SpaceHolder } from './waiting/before-sleep.js'
export type { Condition } from './waiting/condition.js'
export { callAt, deadlineAfter, nowMs, type TimeoutOptions, type WaitOptions } from './waiting/deadline.js'
export { EVENT_COUNT_BYTES, EventCount } from './waiting/event-count.js'
export type { Signal } from './waiting/host.js'
export { pendingWaits, type WaitFor } from './waiting/pending-waits.js'
export { assertStackRoom } from './waiting/stack-room.js'
export { TurnQueue } from './waiting/turn-queue.js'
export { WAITABLE, type Waitable, waitAny } from './waiting/wait-any.js'
export { assertOptions, deadlineOf, signalOf } from './waiting/wait-options.js'
export { fallbackPolling, type Waiter, type Watch } from './waiting/waiter.js'
export { WAITER_SET_BYTES, WaiterSet } from './waiting/waiter-set.js'
