/**
 * What the other packages of isthmus build on, in the same version. It is no promise to anyone else: it changes without
 * notice. Programs use `@isthmus/sync`.
 */

export { AttachedRegion, type Attachment, type Memory } from './attachment/attached-region.js'
export * from './attachment/header.js'
export { isSharedArrayBuffer, isUint8Array } from './brands.js'
export { abortErrorOf, closedError, inWords, throwIfAborted } from './errors.js'
export { onAbort } from './host/abort.js'
export { callAt, nowMs } from './host/clock.js'
export { assertStackRoom } from './host/stack-room.js'
export { alignUp, assertLayout, MAX_ALIGNMENT, subjectOf } from './layout/layout.js'
export { LivenessCheckThrottle } from './peers/liveness-check-throttle.js'
export { generationOf, MAX_PEERS, slotOf } from './peers/peer-id.js'
export { PeerTable, type Sweep } from './peers/peer-table.js'
export type { Liveness, LoopAddress, LoopId, PeerIdentity } from './peers/peers.js'
export { assertOpen } from './region/region.js'
export type { Waiter, Watch } from './region/waiter.js'
export { Awaitable } from './waiting/awaitable.js'
export type { ArmablePoint, Condition, WaitFor } from './waiting/condition.js'
export { EVENT_COUNT_BYTES, EventCount } from './waiting/event-count.js'
export { fallbackPolling } from './waiting/fallback-polling.js'
export { heldSpace, type SpaceHolder } from './waiting/held-space.js'
export { pendingWaits } from './waiting/pending-waits.js'
export { TurnQueue } from './waiting/turn-queue.js'
export { WAITABLE } from './waiting/wait-any.js'
export { assertOptions, deadlineAfter, deadlineOf, signalOf } from './waiting/wait-options.js'
export { WAITER_SET_BYTES, WaiterSet } from './waiting/waiter-set.js'
