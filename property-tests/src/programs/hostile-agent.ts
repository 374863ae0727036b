import { writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { AllocationWatch } from '../hostile/allocation-watch.js'
import type { ChildResult, ChildTask } from '../hostile/child-task.js'
import { Journal } from '../hostile/journal.js'

/** A child of the hostile fuzzer: runs the cases of its task and reports the answers. */

const RSS_GROWTH_BYTES_MAX = 600 * 1024 * 1024
/** How many cases run between two checks of the process's size, since a check costs more than a case. */
const CASES_PER_LOOK = 512

const allocations = new AllocationWatch().install()
// Imported after the watch is installed, so that the packages use the watched constructors.
const { targetPlans } = await import('../hostile/targets.js')
const { CaseFailure, trace } = await import('../hostile/target.js')

process.on('message', async (task: ChildTask) => {
  process.send?.(await attack(task))
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')

async function attack(task: ChildTask): Promise<ChildResult> {
  const journal = new Journal(task.journal)
  if (task.casesMax === 1) trace.line = (text) => writeSync(2, `${text}\n`)
  const target = targetPlans[task.target].make(allocations, task.segmentPrefix)
  const startedMs = performance.now()
  const rssAtFirst = process.memoryUsage.rss()
  let rssGrowthBytes = 0
  let cases = 0
  let mutations = 0
  let calls = 0
  let seed = task.seed
  let log: readonly string[] = []
  const answers: Record<string, number> = {}
  const result = () => ({ cases, mutations, calls, scribbles: target.scribbles, rssGrowthBytes, answers, log })
  try {
    while (cases < task.casesMax && mutations < task.mutationsMax && performance.now() - startedMs < task.msMax) {
      seed = (task.seed + cases) | 0
      journal.note({ target: task.target, seed, cases })
      const report = await target.run(seed)
      cases++
      mutations += report.mutations
      calls += report.calls
      for (const answer of report.answers) answers[answer] = (answers[answer] ?? 0) + 1
      if (task.casesMax === 1) log = report.log
      if (cases % CASES_PER_LOOK !== 0) continue
      // Lets timers and asynchronous closing run.
      await setImmediate()
      rssGrowthBytes = Math.max(rssGrowthBytes, process.memoryUsage.rss() - rssAtFirst)
      if (rssGrowthBytes > RSS_GROWTH_BYTES_MAX) throw new Error(`The process has grown by ${rssGrowthBytes} bytes`)
    }
    await target.close()
    return result()
  } catch (error) {
    const failure = error instanceof CaseFailure ? error.log : []
    return { ...result(), failure: { seed, what: (error as Error).message, log: failure } }
  } finally {
    journal.close()
  }
}
