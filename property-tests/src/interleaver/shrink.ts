import { agentOf, isCrash } from './choice.js'
import type { Crew } from './crew.js'

const ATTEMPTS_MAX = 2_000

/** Shortens a failing schedule: leaves out steps and switches one by one, for as long as it still fails. */
export function shrink(crew: Crew, failing: readonly number[]): readonly number[] {
  let best = failing
  let attempts = 0
  const isBetter = (candidate: readonly number[]): boolean => {
    if (attempts++ >= ATTEMPTS_MAX) return false
    const execution = crew.run({ choices: candidate, isLenient: true })
    if (execution.failure() === undefined) return false
    const choices = execution.choices()
    if (cost(choices) >= cost(best)) return false
    best = choices
    return true
  }
  for (let hasImproved = true; hasImproved; ) {
    hasImproved = [...candidatesFrom(best)].some(isBetter)
  }
  return shortestPlan(crew, best)
}

function cost(choices: readonly number[]): number {
  const switches = choices.filter((choice, at) => at > 0 && agentOf(choice) !== agentOf(choices[at - 1])).length
  return switches * 10_000 + choices.filter(isCrash).length * 5_000 + choices.length
}

/** For each block of steps by one agent: moved after the next block, or left out. For each crash: left out. */
function* candidatesFrom(choices: readonly number[]): Generator<number[]> {
  const blocks = blocksOf(choices)
  for (let at = 0; at < blocks.length; at++) {
    yield blocks.filter((_, other) => other !== at).flat()
    if (at + 1 >= blocks.length) continue
    const before = blocks.slice(0, at)
    const behind = blocks.slice(at + 2)
    yield [...before, blocks[at + 1], blocks[at], ...behind].flat()
    // Handing the turn over one step earlier, or later.
    yield [...before, blocks[at].slice(0, -1), blocks[at + 1], blocks[at].slice(-1), ...behind].flat()
    yield [...before, blocks[at + 1].slice(0, 1), blocks[at], blocks[at + 1].slice(1), ...behind].flat()
  }
}

function blocksOf(choices: readonly number[]): number[][] {
  const blocks: number[][] = []
  for (const choice of choices) {
    const last = blocks.at(-1)
    if (last !== undefined && last[0] === choice && !isCrash(choice)) last.push(choice)
    else blocks.push([choice])
  }
  return blocks
}

/** Leaves out planned steps that the agents take anyway. */
function shortestPlan(crew: Crew, choices: readonly number[]): readonly number[] {
  let length = choices.length
  for (let shorter = 0; shorter < length; shorter++) {
    const execution = crew.run({ choices: choices.slice(0, shorter) })
    if (execution.failure() !== undefined && sameChoices(execution.choices(), choices)) length = shorter
  }
  return choices.slice(0, length)
}

function sameChoices(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((choice, at) => choice === other[at])
}
