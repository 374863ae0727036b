// One of the two processes of a run. Its only argument is an Assignment as JSON.
import type { Assignment } from './harness/two-processes.js'
import { scenarios } from './scenarios/index.js'

const assignment: Assignment = JSON.parse(process.argv[2])
const scenario = scenarios.find(({ name }) => name === assignment.scenario)
if (scenario === undefined) throw new Error(`Taking part in ${assignment.scenario}: there is no such scenario`)
await scenario.takePart(assignment)
