import { brief, full, type ModelPlan, type ModelSize } from '../model-plan.js'

const peers = 'senders=1 messages=1 receivers=2'

const queueSizes: readonly ModelSize[] = [
  brief('put back', 'senders=1 messages=1 receivers=2 requeues=2', [
    'T3 without the position',
    'P2 after P3',
    'T4 ignores seq and owner',
    'R2 left out by a live holder',
    'R3 keeps seq',
  ]),
  brief('one block', 'senders=1 messages=3 receivers=2 requeues=1', ['T6 left out', 'T6 after T7', 'A2 keeps seq']),
  brief('two blocks', 'senders=2 messages=1 receivers=2 blocks=2 slots=4', []),
  brief('end', `${peers} ender=E requeues=1`, [
    'an orphan that its living holder left is not marked, at most once',
    'null without a look at the cells',
    'as many slots as blocks',
  ]),
  brief('end, a copy', `${peers} ender=E parts=2 copies=1 atLeastOnce=1 blocks=2 slots=4`, [
    'null without a second look at left',
  ]),
  brief('end, a death', `${peers} ender=E kills=1 requeues=1 sweepers=1 atLeastOnce=1 maxDeliveries=1`, [
    'a receiver at the END does not ask maxDeliveries',
  ]),
  brief('reopen', `${peers} ender=ER requeues=1 atLeastOnce=1`, ['null without a second look at the END']),
  brief('reopen, a death', 'senders=1 messages=1 receivers=1 ender=ER lookers=1 sweepers=1 kills=1 atLeastOnce=1', [
    'a look adopts an orphan whose lane has ended',
  ]),
  brief('a sender dies', 'senders=2 messages=1 receivers=1 kills=1 restarts=1 sweepers=1 lookers=1', [
    'P4 before P3',
    'S2 left out',
  ]),
  brief(
    'dead letters',
    'senders=2 messages=1 lanes=2 deadLane=1 receivers=1 deadLetterReceivers=2 requeues=1 atLeastOnce=1 maxDeliveries=1',
    ['T3 without the lane'],
  ),
  brief('a receiver dies', 'senders=1 messages=2 receivers=2 kills=1 sweepers=1 lookers=1 restarts=1', [
    'T6 toggles the position, also of an adopted block',
  ]),
  brief('a receiver dies, at least once', `${peers} kills=1 sweepers=1 lookers=1 atLeastOnce=1`, [
    'R2 left out by an adopter',
  ]),
  brief('a packed block', `${peers} parts=2 kills=1 sweepers=1 lookers=1 requeues=1`, [
    'done is stored after the delivery, at most once',
    'an adopter frees the rest of a packed block, at most once',
  ]),
  brief('packed blocks', 'senders=1 messages=2 receivers=1 parts=2 atLeastOnce=1', [
    'done is stored after the block is free',
  ]),
  brief(
    'a sweeper dies',
    'senders=1 messages=1 receivers=1 kills=2 sweepers=2 lookers=1 restarts=1 restartRole=receiver',
    ['a sweep counts only the orphans that it left itself'],
  ),
  brief('a sender leaves', 'senders=1 messages=1 receivers=1 leaves=1 restarts=1 provers=1', [
    'a look loads the cell again after it asked who lives',
    'a look asks who lives before it loads the cell',
  ]),
  full('reopen, looked through', `${peers} ender=ER lookers=1 requeues=1 atLeastOnce=1`, [
    'an orphan at the END does not raise left',
    'reopen does not raise left',
  ]),
  full('two kills', 'senders=1 messages=1 receivers=3 kills=2 sweepers=1 lookers=1 atLeastOnce=1', [
    'S4, R1 and R3 keep seq',
    'left is loaded after the look',
  ]),
  full('two provers', 'senders=1 messages=1 receivers=1 kills=2 sweepers=1 provers=2 atLeastOnce=1', []),
  full('two sweepers, two lookers', `${peers} kills=2 sweepers=2 lookers=2`, []),
  {
    ...full('two lanes, an end', 'senders=2 messages=2 lanes=2 receivers=2 ender=E', [
      'T3 reads the lane only after the position',
      'a sender writes the lane before the position is away',
    ]),
    statesMax: 2_000_000,
  },
  full('two lanes, a death', 'senders=2 messages=1 lanes=2 receivers=2 kills=1 sweepers=1 restarts=1', [
    'T3 reads the lane only before the position',
  ]),
]

export const queue: ModelPlan = {
  name: 'mpmc-queue',
  sizes: queueSizes,
  openMutants: ['R2 after the lane is changed', 'null asks any lane whether a block was pushed'],
  harmlessMutants: {
    'S4 keeps seq': 'R3 takes the next one before the block can be pushed: an ORPHAN is never taken by T4',
    'R1 keeps seq': 'as S4',
    'S4 and R1 keep seq': 'as S4: the seq of R3 alone is enough, and with none of the three the mutant is caught',
    'R2 left out by a receiver at the END':
      'its block is HELD, and gets a position that is away before it is free or RETURNING',
    'seen is stored before the look':
      'a killed looker is swept, which counts orphans again; a stopped one delays them until a check is due',
  },
}
