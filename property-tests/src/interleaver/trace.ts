import { agentOf, isCrash } from './choice.js'
import type { Execution } from './execution.js'
import {
  AWAIT_CRASH,
  AWAIT_WAKE_UP,
  COMPARE_EXCHANGE,
  END,
  END_SLICES,
  EXCHANGE,
  LISTEN,
  LOAD,
  NOTIFY,
  OPERATION_NAMES,
  PLAIN_LOAD,
  PLAIN_STORE,
  STORE,
  TIME_OUT,
  WAIT,
  WAKE,
} from './operation.js'
import type { WordNames } from './word-names.js'

/** A readable text of a schedule: one line for each step. */
export function traceOf(execution: Execution, names: WordNames): string {
  const agentNames = Object.keys(execution.scenario.agents)
  const agentWidth = Math.max(...agentNames.map((name) => name.length))
  const nameWidth = Math.max(
    ...Array.from({ length: execution.steps }, (_, step) => nameAt(execution, names, step).length),
  )
  const lines = Array.from({ length: execution.steps }, (_, step) => {
    const choice = execution.choiceAt(step)
    const agent = agentNames[agentOf(choice)].padEnd(agentWidth)
    const number = String(step).padStart(4)
    if (isCrash(choice)) return `${number}  ${agent}  CRASHES, before ${pendingText(execution, names, step)}`
    const kind = OPERATION_NAMES[execution.kindAt(step)].padEnd(15)
    return `${number}  ${agent}  ${kind}  ${nameAt(execution, names, step).padEnd(nameWidth)}  ${valueText(execution, names, step)}`.trimEnd()
  })
  return lines.join('\n')
}

function nameAt(execution: Execution, names: WordNames, step: number): string {
  return execution.wordAt(step) < 0 ? '' : names.nameOf(execution.wordAt(step))
}

function pendingText(execution: Execution, names: WordNames, step: number): string {
  return `${OPERATION_NAMES[execution.kindAt(step)]} ${nameAt(execution, names, step)}`.trim()
}

function valueText(execution: Execution, names: WordNames, step: number): string {
  const word = execution.wordAt(step)
  const show = (value: number): string => names.show(word, value)
  const result = execution.resultAt(step)
  const operand = execution.operandAt(step)
  const expected = execution.expectedAt(step)
  switch (execution.kindAt(step)) {
    case LOAD:
    case PLAIN_LOAD:
      return show(result)
    case STORE:
    case PLAIN_STORE:
      return `:= ${show(operand)}`
    case COMPARE_EXCHANGE:
      return result === expected
        ? `${show(expected)} -> ${show(operand)}`
        : `is ${show(result)}, not ${show(expected)}: failed`
    case EXCHANGE:
      return `${show(result)} -> ${show(operand)}`
    case NOTIFY:
      return `woke ${result}`
    case WAIT:
      return result === expected ? `sleeps, while ${expected}` : `is ${result}, not ${expected}: does not sleep`
    case LISTEN:
      return result === expected ? `listens, while ${expected}` : `is ${result}, not ${expected}: does not listen`
    case AWAIT_WAKE_UP:
      return result === 0 ? 'sleeps' : 'a wake-up came before'
    case WAKE:
    case TIME_OUT:
    case AWAIT_CRASH:
    case END:
    case END_SLICES:
      return ''
    default:
      return `${show(result)}, by ${operand}`
  }
}
