import type { AllocationWatch } from './allocation-watch.js'
import { FileTarget } from './file-target.js'
import type { RegionKind } from './ground.js'
import { Scribbler } from './scribbler.js'
import { StructureTarget } from './structure-target.js'
import { subjects } from './subjects/index.js'
import type { Target } from './target.js'

const KINDS: readonly RegionKind[] = ['heap', 'segment']
/** Recovery is done by one agent alone. */
const NEVER_SCRIBBLED = ['recovery', 'queue-recovery', 'latest-recovery', 'broadcast-recovery']
const ONLY_SCRIBBLED = ['flooded-ring', 'broadcast-subscriber', 'broadcast-no-gates']

interface TargetPlan {
  readonly name: string
  make(allocations: AllocationWatch, segmentPrefix: string): Target
}

/** Each thing that is attacked, with each way of attacking it. */
export const targetPlans: readonly TargetPlan[] = [
  ...subjects.flatMap((subject) =>
    KINDS.flatMap((kind): TargetPlan[] => [
      ...(ONLY_SCRIBBLED.includes(subject.name)
        ? []
        : [
            {
              name: `${subject.name}/${kind}/between`,
              make: (allocations: AllocationWatch) => new StructureTarget(subject, kind, allocations),
            },
          ]),
      ...(NEVER_SCRIBBLED.includes(subject.name)
        ? []
        : [
            {
              name: `${subject.name}/${kind}/scribbled`,
              make: (allocations: AllocationWatch) => new StructureTarget(subject, kind, allocations, new Scribbler()),
            },
          ]),
    ]),
  ),
  { name: 'file/segment/between', make: (allocations, prefix) => new FileTarget(allocations, prefix) },
]

/** The indexes in `targetPlans` of the targets whose name matches. */
export function targetsMatching(pattern: string): number[] {
  const expression = new RegExp(pattern)
  return targetPlans.flatMap(({ name }, place) => (expression.test(name) ? [place] : []))
}
