import { agentOf, crashOf, isCrash, stepOf } from './choice.js'

/**
 * A schedule as a line of text: `spsc-close: producer 5, consumer 3, producer crashes, consumer 12`. A number says how
 * many steps the agent takes. After the end, the agent that took the last step goes on for as long as it can.
 */
export function scheduleText(scenarioName: string, agentNames: readonly string[], choices: readonly number[]): string {
  const parts: string[] = []
  for (let at = 0; at < choices.length; ) {
    const choice = choices[at]
    let count = 1
    while (!isCrash(choice) && choices[at + count] === choice) count++
    const name = agentNames[agentOf(choice)]
    parts.push(isCrash(choice) ? `${name} crashes` : `${name} ${count}`)
    at += count
  }
  return `${scenarioName}: ${parts.join(', ')}`
}

/** @returns the scenario's name, and the rest of the line, for choicesOf */
export function splitScheduleText(text: string): { scenarioName: string; steps: string } {
  const [, scenarioName, steps] = /^\s*([\w-]+)\s*:\s*([^\n]*)/.exec(text) ?? []
  if (scenarioName === undefined)
    throw new Error(`Not a schedule: ${text}. It looks like "scenario: agent 3, other 2".`)
  return { scenarioName, steps }
}

export function choicesOf(steps: string, agentNames: readonly string[]): number[] {
  const parts = steps.split(',').filter((part) => part.trim() !== '')
  return parts.flatMap((part) => {
    const [name, what] = part.trim().split(/\s+/)
    const agent = agentNames.indexOf(name)
    if (agent < 0) throw new Error(`No agent of this scenario is called ${name}: ${agentNames.join(', ')}`)
    return what === 'crashes' ? [crashOf(agent)] : new Array<number>(Number(what)).fill(stepOf(agent))
  })
}
