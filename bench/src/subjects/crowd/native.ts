import type { Measurement } from '../../harness/timed-transfers.js'
import { NativeProgram } from '../native-program.js'
import type { CrowdWork, SelfTimedCrowdSubject } from './crowd-subject.js'
import { blocksFor } from './queue-blocks.js'
import { STOPS, stopMsOf } from './stopping.js'

const queue = new NativeProgram('mpmc-queue')

/** Vyukov's bounded queue in C++, between processes: what the machine can do if no process is ever stopped. */
export const nativeCrowd: SelfTimedCrowdSubject = {
  name: 'native',
  prepare: queue.prepare,
  does: () => true,
  measure(work, { pace, signal }) {
    const mode = work.isLoan ? 'loan' : 'copy'
    return queue.run<Measurement>([mode, ...argumentsOf(work), pace.warmUpMs, pace.targetMs], signal)
  },
  async shareOfOthers(work, { pace, signal }) {
    const args = ['stopped', ...argumentsOf(work), STOPS, stopMsOf(pace)]
    return (await queue.run<{ readonly share: number }>(args, signal)).share
  },
}

function argumentsOf({ crowd, messageBytes }: CrowdWork): readonly number[] {
  return [crowd.first, crowd.second, messageBytes, blocksFor(messageBytes)]
}
