import { brief, full, type ModelPlan } from '../model-plan.js'

export const pipe: ModelPlan = {
  name: 'pipe',
  sizes: [
    brief('pipe', 'messages=2', [
      'Z3 left out',
      'Y3 does not look at the lease again',
      'T6 left out by the last one that leaves',
      'a receiver wakes the sender after Y3',
      'a sender aborts after it is GONE',
      'a receiver looks for bytes before it loads the marks',
      'Z2 sends what the receiver has given up',
    ]),
    brief('pipe, at least once', 'messages=2 atLeastOnce=1', [
      'any peer adopts the orphan of a sender at work',
      'R2 left out by the sender',
      'a sender loads the marks before the cell',
      'a sender that takes the block back keeps the marks',
    ]),
    brief('pipe, a death', 'kills=1 restarts=1', []),
    brief('pipe, a death, at least once', 'kills=1 atLeastOnce=1', []),
    full('pipe, a successor', 'kills=1 restarts=1 atLeastOnce=1', []),
    full('pipe, two deaths', 'kills=2', []),
  ],
  openMutants: [],
  harmlessMutants: {
    'R3 keeps seq': 'R1 has taken the next one, and an ORPHAN is never taken by T4',
    'Y3 and S4 keep seq': 'R1 takes the next one, and only the sender or the last one that leaves takes this orphan',
    'a sender loads the cell again after it asked who lives':
      'as long as it is at work no other peer takes the block: a cell that is HELD names the holder that it had named',
  },
}
