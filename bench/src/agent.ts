// One side of a run, or the process in which both are threads. Its arguments are an Assignment as JSON and its parent.
import { arrangeSides } from './harness/arrange-sides.js'
import { scenarios } from './scenarios/index.js'

await arrangeSides((assignment, line) => {
  const scenario = scenarios.find(({ name }) => name === assignment.scenario)
  if (scenario === undefined) throw new Error(`Taking part in ${assignment.scenario}: there is no such scenario`)
  return scenario.takePart(assignment, line)
})
