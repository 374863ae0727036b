import { scrambled } from '../harness/messages.js'
import type { KillPoint } from './effects.js'

/**
 * A spinning victim repeats an effect hundreds of times: only this many of the first and of the last ones are taken.
 */
const REPETITIONS_AT_EACH_END = 6

/** Before and after each effect. */
export function killPointsOf(effects: readonly string[]): KillPoint[] {
  const occurrences = new Map<string, number[]>()
  effects.forEach((text, index) => {
    const kind = text.split(' ').slice(0, 2).join(' ')
    occurrences.set(kind, [...(occurrences.get(kind) ?? []), index + 1])
  })
  const chosen = [...occurrences.values()].flatMap((indexes) =>
    indexes.length <= 2 * REPETITIONS_AT_EACH_END
      ? indexes
      : [...indexes.slice(0, REPETITIONS_AT_EACH_END), ...indexes.slice(-REPETITIONS_AT_EACH_END)],
  )
  return chosen.sort((a, b) => a - b).flatMap((effect) => bothSidesOf(effect))
}

export function bothSidesOf(effect: number): KillPoint[] {
  return [
    { effect, side: 'before' },
    { effect, side: 'after' },
  ]
}

/** `count` of them at random; the same ones for the same seed. */
export function sampleOf<T>(all: readonly T[], count: number, seed: number): T[] {
  if (all.length <= count) return [...all]
  const order = all.map((_, index) => scrambled(seed * 7919 + index))
  const places = all.map((_, index) => index).sort((a, b) => order[a] - order[b])
  return places
    .slice(0, count)
    .sort((a, b) => a - b)
    .map((index) => all[index])
}
