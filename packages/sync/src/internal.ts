/**
 * What the other packages of isthmus build on, in the same version. It is no promise to anyone else: it changes without
 * notice. Programs use `@isthmus/sync`.
 */

export { isSharedArrayBuffer, isUint8Array } from './brands.js'
export { abortErrorOf, inWords, throwIfAborted } from './errors.js'
export { alignUp, assertLayout, MAX_ALIGNMENT, subjectOf } from './layout/layout.js'
export { LivenessCheckThrottle } from './peers/liveness-check-throttle.js'
export { generationOf, MAX_PEERS, slotOf } from './peers/peer-id.js'
export { PeerTable, type Sweep } from './peers/peer-table.js'
export type { Liveness, LoopAddress, LoopId, PeerIdentity } from './peers/peers.js'
export { AttachedRegion, type Attachment, type Memory } from './region/attached-region.js'
export * from './region/header.js'
export { assertOpen, closedError } from './region/region.js'
export { onAbort } from './waiting/abort.js'
export { Awaitable } from './waiting/awaitable.js'
export { beforeSleep, type SpaceHolder } from './waiting/before-sleep.js'
export type { Condition } from './waiting/condition.js'
export { callAt, deadlineAfter, nowMs } from './waiting/deadline.js'
export { EVENT_COUNT_BYTES, EventCount } from './waiting/event-count.js'
export { pendingWaits, type WaitFor } from './waiting/pending-waits.js'
export { assertStackRoom } from './waiting/stack-room.js'
export { TurnQueue } from './waiting/turn-queue.js'
export { WAITABLE } from './waiting/wait-any.js'
export { assertOptions, deadlineOf, signalOf } from './waiting/wait-options.js'
export { fallbackPolling, type Waiter, type Watch } from './waiting/waiter.js'
export { WAITER_SET_BYTES, WaiterSet } from './waiting/waiter-set.js'
