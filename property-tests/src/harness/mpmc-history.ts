/** Times of a call, in nanoseconds of the clock that all processes share: what the call did was done between them. */
export interface Interval {
  readonly startNs: number
  readonly endNs: number
}

/** A block with one message or several, as a sender pushed it. */
export interface Push extends Interval {
  readonly lane: number
  readonly position: number
  readonly values: readonly number[]
  /** When the call began that took the free block. */
  readonly occupiedFromNs: number
}

/** The same block, as a receiver took it. */
export interface Take extends Interval {
  readonly lane: number
  readonly position: number
  readonly values: readonly number[]
  /** When the call ended that freed the block. */
  readonly occupiedUntilNs: number
}

/** A receive that found nothing: in this lane, everything before this position was taken, and nothing pushed at it. */
export interface EmptyLook extends Interval {
  readonly lane: number
  readonly position: number
}

/** Everything that several processes did with one queue, from empty to empty. */
export interface History {
  readonly blocks: number
  readonly lanes: number
  /** The first position of every lane. */
  readonly startPosition: number
  readonly pushes: readonly Push[]
  readonly takes: readonly Take[]
  readonly emptyLooks: readonly EmptyLook[]
  /** Sends that found no free block. */
  readonly refusals: readonly Interval[]
  /** Blocks that were taken and given back, unsent. */
  readonly unsent: readonly Interval[]
}

/**
 * Says why a history is not linearizable; returns nothing for one that is.
 *
 * The positions are a witness: they say in which order messages were pushed and taken, and between which two pushes a receive
 * found nothing. What is left to decide is whether each operation can have happened at one moment of its call, in that order.
 * So one pass along the positions does it: each operation is given the earliest moment that its predecessors allow, and that
 * moment must not be later than the end of its call.
 *
 * Two promises are weaker, and checked as they are given: a send that found no block has looked at the blocks one after the
 * other; and lanes are looked at one after the other, the highest first.
 */
export function faultsOf(history: History): string[] {
  const faults: string[] = []
  const lanes: LaneOrder[] = []
  for (let lane = 0; lane < history.lanes; lane++) lanes.push(new LaneOrder(history, lane, faults))
  if (faults.length > 0) return faults
  for (const lane of lanes) lane.findMoments(faults)
  checkPriorities(lanes, faults)
  checkRefusals(history, faults)
  return faults
}

/** What happened in one lane, by position. */
class LaneOrder {
  readonly lane: number
  readonly pushes: Push[] = []
  readonly takes: Take[] = []
  readonly emptyLooks: EmptyLook[][] = []
  /** The earliest possible moment of each take. */
  readonly takeMoments: number[] = []

  constructor(history: History, lane: number, faults: string[]) {
    this.lane = lane
    const isHere = (operation: { lane: number }) => operation.lane === lane
    const indexOf = (position: number) => (position - history.startPosition) | 0
    const pushes = history.pushes.filter(isHere)
    for (const push of pushes) {
      const index = indexOf(push.position)
      if (this.pushes[index] !== undefined) faults.push(`${nameOf(push)} was pushed twice`)
      else if (index < 0 || index >= pushes.length) faults.push(`${nameOf(push)} was pushed, and not all before it`)
      else this.pushes[index] = push
    }
    for (const take of history.takes.filter(isHere)) {
      const index = indexOf(take.position)
      const push = this.pushes[index]
      if (push === undefined) faults.push(`${nameOf(take)} was taken, and never pushed`)
      else if (this.takes[index] !== undefined) faults.push(`${nameOf(take)} was taken twice`)
      else if (`${push.values}` !== `${take.values}`) faults.push(`${nameOf(push)} was taken as ${take.values}`)
      else this.takes[index] = take
    }
    for (const [index, push] of this.pushes.entries()) {
      if (push !== undefined && this.takes[index] === undefined) faults.push(`${nameOf(push)} was lost`)
    }
    for (const look of history.emptyLooks.filter(isHere)) {
      const index = indexOf(look.position)
      if (index < 0 || index > this.pushes.length) faults.push(`nothing was found at ${look.position}, out of range`)
      else this.emptyLooks[index] = [...(this.emptyLooks[index] ?? []), look]
    }
  }

  findMoments(faults: string[]): void {
    let pushMoment = Number.NEGATIVE_INFINITY
    let takeMoment = Number.NEGATIVE_INFINITY
    for (let index = 0; index <= this.pushes.length; index++) {
      for (const look of this.emptyLooks[index] ?? []) {
        // After the take before it, and before the push at it.
        const moment = Math.max(takeMoment, look.startNs)
        if (moment > look.endNs) faults.push(`nothing was found at ${look.position}, before all before it were taken`)
        pushMoment = Math.max(pushMoment, moment)
      }
      if (index === this.pushes.length) return
      const push = this.pushes[index]
      const take = this.takes[index]
      pushMoment = Math.max(pushMoment, push.startNs)
      if (pushMoment > push.endNs) faults.push(`${nameOf(push)} was pushed too early for its place`)
      takeMoment = Math.max(takeMoment, pushMoment, take.startNs)
      if (takeMoment > take.endNs) faults.push(`${nameOf(take)} was taken too early for its place`)
      this.takeMoments[index] = takeMoment
    }
  }
}

/** A receive never returns a lower message if a higher one was there during the whole call. */
function checkPriorities(lanes: readonly LaneOrder[], faults: string[]): void {
  for (const higher of lanes) {
    const pushedBy = latestMoments(higher.pushes)
    for (const lower of lanes.slice(0, higher.lane)) {
      for (const take of lower.takes) {
        const pushed = countBelow(pushedBy, take.startNs)
        const taken = countBelow(higher.takeMoments, take.endNs + 1)
        if (pushed > taken) faults.push(`${nameOf(take)} was taken before ${nameOf(higher.pushes[taken])}`)
      }
    }
  }
}

/** A refused send has met each block taken, at some moment of its call. */
function checkRefusals(history: History, faults: string[]): void {
  const untilOf = new Map(history.takes.map((take) => [keyOf(take), take.occupiedUntilNs]))
  const from = history.pushes.map(({ occupiedFromNs }) => occupiedFromNs)
  const until = history.pushes.map((push) => untilOf.get(keyOf(push)) ?? Number.POSITIVE_INFINITY)
  for (const { startNs, endNs } of history.unsent) {
    from.push(startNs)
    until.push(endNs)
  }
  const byNumber = (a: number, b: number) => a - b
  from.sort(byNumber)
  until.sort(byNumber)
  for (const { startNs, endNs } of history.refusals) {
    const count = countBelow(from, endNs + 1) - countBelow(until, startNs)
    if (count < history.blocks)
      faults.push(`a send was refused (${startNs} to ${endNs}), with ${count} of ${history.blocks} blocks taken`)
  }
}

/** For each of these, in their order, the latest moment at which it can have happened. */
function latestMoments(pushes: readonly Push[]): number[] {
  const moments: number[] = []
  let latest = Number.POSITIVE_INFINITY
  for (let index = pushes.length - 1; index >= 0; index--) {
    latest = Math.min(latest, pushes[index].endNs)
    moments[index] = latest
  }
  return moments
}

/** How many of these ascending numbers are below a limit. */
function countBelow(ascending: readonly number[], limit: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle] < limit) low = middle + 1
    else high = middle
  }
  return low
}

function keyOf({ lane, position }: { lane: number; position: number }): string {
  return `${lane}:${position}`
}

function nameOf({ lane, position, values }: Push | Take): string {
  return `${values.join(', ')} (lane ${lane}, position ${position})`
}
