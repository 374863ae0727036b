import { brief, full, type ModelPlan } from '../model-plan.js'

export const waiterSet: ModelPlan = {
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
    brief('waiter set, all woken', 'items=2 notifiers=1 takes=2 notifiesAll=1', [
      'a registration is not counted',
      'all sleepers count as woken for a word that is loaded at the end',
    ]),
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
