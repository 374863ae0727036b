import type { Contest, Contestant, Outcome, Result, RunContext } from './contest.js'
import { median } from './median.js'
import { percentilesInSeconds } from './percentile.js'

/**
 * Runs the subjects of a contest in turn, round by round, so that anything else the machine does affects all of them.
 * `onSkip` is told of subjects that cannot run here.
 */
export async function runContest(
  contest: Contest,
  context: RunContext,
  onSkip: (contestant: Contestant, reason: string) => void,
): Promise<Result[]> {
  const { scenario, work, unit, messageBytes } = contest
  const length = messageBytes === undefined ? {} : { messageBytes }
  const entries: { contestant: Contestant; outcomes: Outcome[] }[] = []
  for (const contestant of contest.contestants) {
    const skipReason = await contestant.prepare?.(context.signal)
    if (skipReason === undefined) entries.push({ contestant, outcomes: [] })
    else onSkip(contestant, skipReason)
  }
  for (let round = 0; round < context.pace.rounds; round++) {
    for (const { contestant, outcomes } of entries) {
      context.signal.throwIfAborted()
      try {
        outcomes.push(await contestant.run(context))
      } catch (error) {
        context.signal.throwIfAborted()
        throw new Error(`${scenario}, ${work}, ${contestant.subject}: the run failed`, { cause: error })
      }
    }
  }
  return entries.map(({ contestant, outcomes }) => {
    const runs = outcomes.map(({ value }) => value)
    const samplesNs = outcomes.flatMap((outcome) => (outcome.samplesNs === undefined ? [] : [outcome.samplesNs]))
    const timed = samplesNs.length === 0 ? {} : { percentiles: percentilesInSeconds(samplesNs.flat()), samplesNs }
    const { subject } = contestant
    return { scenario, work, subject, unit, ...length, median: median(runs), runs, ...timed, ...writeCallsOf(outcomes) }
  })
}

function writeCallsOf(outcomes: readonly Outcome[]): Pick<Result, 'writeCallsPerMessage'> {
  const counts = outcomes.flatMap(({ writeCallsPerMessage }) => writeCallsPerMessage ?? [])
  if (counts.length === 0) return {}
  const sender = median(counts.map((count) => count.sender))
  const receiver = median(counts.map((count) => count.receiver))
  return { writeCallsPerMessage: { sender, receiver } }
}
