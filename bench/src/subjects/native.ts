import type { RunContext } from '../harness/contest.js'
import type { Measurement } from '../harness/timed-transfers.js'
import { NativeProgram } from './native-program.js'
import { ringCapacityBytes } from './ring-capacity.js'
import type { CourierWaiting } from './subject.js'
import type { SelfTimedSubject, ThroughputWork } from './throughput-subject.js'

const ring = new NativeProgram('spsc-ring')

/** The same ring in C++, between two processes: what the machine can do. */
export const nativeThroughput: SelfTimedSubject = {
  name: 'native',
  prepare: ring.prepare,
  does: () => true,
  measure: (work, context) => measureRing(work, work.kind === 'copying' ? 'copy' : 'claim', context),
}

/** A usual C++ ring: whole messages are copied in and out, while the others write and read in place. */
export const nativeCopyingThroughput: SelfTimedSubject = {
  name: 'native copying',
  prepare: ring.prepare,
  does: ({ kind }) => kind === 'in place',
  measure: (work, context) => measureRing(work, 'copy', context),
}

function measureRing(work: ThroughputWork, mode: 'claim' | 'copy', { pace, signal }: RunContext): Promise<Measurement> {
  const { messageBytes } = work
  const [batchMessages, touchedWords] = work.kind === 'in place' ? [work.batchMessages, work.touchedWords] : [1, 1]
  const capacityBytes = ringCapacityBytes(messageBytes)
  const args = [mode, messageBytes, capacityBytes, batchMessages, touchedWords, pace.warmUpMs, pace.targetMs]
  return ring.run<Measurement>(args, signal)
}

interface Samples {
  readonly samplesNs: readonly number[]
}

const pingPong = new NativeProgram('ping-pong')
const WAYS: Record<CourierWaiting, string> = { spinning: 'spin', blocking: 'futex' }

/** Round trips in C++. */
export const nativePingPong = {
  prepare: pingPong.prepare,
  async samples(waiting: CourierWaiting, pauseMs: number, { pace, signal }: RunContext): Promise<readonly number[]> {
    const samples = pauseMs > 0 ? pace.coldSamples : pace.hotSamples
    const args = [WAYS[waiting], pauseMs, pace.warmUpMs, pace.targetMs, samples]
    return (await pingPong.run<Samples>(args, signal)).samplesNs
  },
}

const mutex = new NativeProgram('mutex')

/** A robust one is freed by the kernel when its owner dies. */
export type NativeMutexKind = 'normal' | 'robust'

export interface Operations {
  readonly seconds: number
  readonly operations: number
}

/** The mutex of pthread, shared between processes. */
export const nativeMutex = {
  prepare: mutex.prepare,
  operations(kind: NativeMutexKind, work: 'uncontended' | 'contended', { pace, signal }: RunContext) {
    return mutex.run<Operations>([kind, work, pace.targetMs], signal)
  },
  async handOffs(kind: NativeMutexKind, { pace, signal }: RunContext): Promise<readonly number[]> {
    return (await mutex.run<Samples>([kind, 'hand-off', pace.coldSamples], signal)).samplesNs
  },
  /** How long after its owner was killed a blocked waiter has a robust mutex, in nanoseconds. */
  async recovery({ signal }: RunContext): Promise<number> {
    return (await mutex.run<Samples>(['robust', 'recovery', 1], signal)).samplesNs[0]
  },
}

const attach = new NativeProgram('attach')

/** open, fstat and mmap. */
export const nativeAttach = {
  prepare: attach.prepare,
  async samples(byteLength: number, readsAll: boolean, { pace, signal }: RunContext): Promise<readonly number[]> {
    const args = [byteLength, readsAll ? 'all' : 'one', pace.coldSamples]
    return (await attach.run<Samples>(args, signal)).samplesNs
  },
}
