import type { Measurement } from '../../harness/timed-transfers.js'
import { NativeProgram } from '../native-program.js'
import { ringCapacityBytes } from '../ring-capacity.js'
import { batchMessagesFor, type SelfTimedBroadcastSubject } from './broadcast-subject.js'

const ring = new NativeProgram('broadcast-ring')

/** The same ring in C++, between processes, all of which spin. 64 B: written and read in place, longer ones copied in and out. */
export const nativeBroadcast = subjectOf('native', 'gated')

/** Its readers have no gates, and validate what they have read. */
export const nativeBroadcastLossy = subjectOf('native lossy', 'lossy')

function subjectOf(name: string, mode: 'gated' | 'lossy'): SelfTimedBroadcastSubject {
  return {
    name,
    prepare: ring.prepare,
    does: () => true,
    measure({ crowd, messageBytes }, { pace, signal }) {
      const way = messageBytes === 64 ? 'claim' : 'copy'
      const sizes = [messageBytes, ringCapacityBytes(messageBytes), batchMessagesFor(messageBytes)]
      return ring.run<Measurement>([mode, way, crowd.second, ...sizes, pace.warmUpMs, pace.targetMs], signal)
    },
  }
}
