import { type ModelPlan, withoutSoloRuns } from '../model-plan.js'

export const broadcastLossy: ModelPlan = {
  name: 'broadcast-lossy',
  sizes: [
    withoutSoloRuns('a reader and a newcomer', 'readers=1 newcomer=1', [
      'a copy is validated by the write position',
      'the intent is stored after the words',
      'a copy is not validated',
      'a successor begins at the intent',
      'the number is written after the position',
      'the number has one place',
      'a newcomer does not look at the position again',
      'a successor publishes the same position again',
    ]),
    withoutSoloRuns('two readers', 'readers=2', []),
    withoutSoloRuns('two successors', 'messages=4 newcomer=1 kills=2', []),
    withoutSoloRuns('messages held back', 'words=6 cork=3 messages=8 newcomer=1', [
      'a successor takes the intent back',
    ]),
  ],
  openMutants: [],
  harmlessMutants: {},
}

export const broadcastGates: ModelPlan = {
  name: 'broadcast-gates',
  sizes: [
    withoutSoloRuns('gates', 'messages=6', [
      'J3 left out',
      'a gate holds the publisher back only once its subscriber reads',
      'a gate is freed without a proof',
    ]),
    withoutSoloRuns('gates, a demotion', 'messages=5 demotions=1', ['a copy is not validated by the gate']),
    withoutSoloRuns('gates, messages held back', 'messages=6 cork=2', ['the limit counts from what is held back']),
  ],
  openMutants: [],
  harmlessMutants: {},
}

export const broadcastPosition: ModelPlan = {
  name: 'broadcast-position',
  sizes: [
    withoutSoloRuns('position', 'kills=2', [
      'the era is read once',
      'low is stored before the era',
      'an era that is one ahead is ignored',
    ]),
    withoutSoloRuns('cursor', 'cursor=1', ['a cursor is replaced without a mark']),
    withoutSoloRuns('cursor, other laps', 'cursor=1 jump=7', []),
  ],
  openMutants: [],
  harmlessMutants: {},
}
