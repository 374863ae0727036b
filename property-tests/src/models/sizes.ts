/** A model, and what is to be found out about it. */
export interface ModelPlan {
  /** Of its file in property-tests/models. */
  readonly name: string
  readonly sizes: readonly ModelSize[]
  /** Mutants that no size here catches, and why they are listed all the same. */
  readonly harmlessMutants: Readonly<Record<string, string>>
  /** Mutants that are neither caught nor shown to be harmless: their cases are larger than the sizes here. */
  readonly openMutants: readonly string[]
}

export interface ModelSize {
  readonly name: string
  /** As the program in property-tests/models reads it. */
  readonly parameters: string
  /** The mutants that have to be caught in this size. */
  readonly catches: readonly string[]
  /** Small enough for every change. The others need --full. */
  readonly isBrief: boolean
  readonly runsSolo: boolean
  /** The search ends here: it is not complete, and shows its mutants. */
  readonly statesMax?: number
}

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

const queue: ModelPlan = {
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

const pipe: ModelPlan = {
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

const waiterSet: ModelPlan = {
  name: 'waiter-set',
  sizes: [
    brief('waiter set', 'items=2 notifiers=1', [
      'a sleeper does not register',
      'a registration is not counted',
      'the registration of an event loop is not counted',
      'a notifier clears S whatever the word is by then',
      'a thread sets its bit after it has registered',
      'a thread registers after its last poll',
      'a thread sets S if it was clear before its registration',
      'a woken loop does not register again',
      'all sleepers count as woken although one was woken just now',
      'all sleepers count as woken for a word that is loaded at the end',
      'a loop that was woken once is not woken again',
      'a notifier looks at the bits before it loads S',
    ]),
    brief('waiter set, two threads', 'threads=2 loops=0', []),
    brief('waiter set, all woken', 'items=2 notifiers=1 takes=2 notifiesAll=1', []),
    brief('waiter set, a death', 'items=2 notifiers=1 kills=1', []),
    full('waiter set, two loops', 'threads=0 loops=2', []),
    full('waiter set, two notifiers', '', []),
    full('waiter set, a death of four', 'kills=1', []),
  ],
  openMutants: [],
  harmlessMutants: {
    'a woken loop registers again without S': 'its bits stand, so no notifier clears S meanwhile',
  },
}

const broadcastLossy: ModelPlan = {
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

const broadcastGates: ModelPlan = {
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

const broadcastPosition: ModelPlan = {
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

export const modelPlans: readonly ModelPlan[] = [
  queue,
  pipe,
  waiterSet,
  broadcastLossy,
  broadcastGates,
  broadcastPosition,
]

function brief(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: true, runsSolo: true }
}

function full(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: false, runsSolo: false }
}

function withoutSoloRuns(name: string, parameters: string, catches: readonly string[]): ModelSize {
  return { name, parameters, catches, isBrief: true, runsSolo: false }
}
