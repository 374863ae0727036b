import { brief, full, type ModelPlan } from '../model-plan.js'

export const latest: ModelPlan = {
  name: 'latest',
  sizes: [
    brief('latest, two slots', 'slots=2 writes=4 readers=1 kills=2', [
      'V1 left out',
      'V3 after V4',
      'R4 left out',
      'a successor goes on after what its predecessor was writing',
      '0 is not skipped',
      'after the last version comes 1',
    ]),
    brief('latest, three slots', 'slots=3 writes=5 readers=1 kills=2', []),
    brief('latest, four slots', 'slots=4 writes=6 readers=1', []),
    full('latest, two readers', 'slots=2 writes=5 readers=2 kills=2', []),
  ],
  openMutants: [],
  harmlessMutants: {
    'V2 after V3': 'no reader looks at a version before V4 makes it current: V4 publishes the value',
    'R2 left out': 'R4 alone decides. R2 saves a copy that would be in vain, and finds corrupt memory',
  },
}
