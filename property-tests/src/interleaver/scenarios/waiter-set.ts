import { Int32Field, type Layout } from '@isthmus/sync'
import { type Condition, WAITER_SET_BYTES, WaiterSet } from '@isthmus/sync/internal'
import { agent, type RegionWords, scenario } from '../scenario.js'
import { allOf, plainName, waiterSetNames } from '../word-names.js'

/** Items that agents add and take, and the waiter set for those that want one. */
class Stock {
  readonly #items: Int32Field
  readonly #waiters: WaiterSet

  constructor(items: Int32Field, waiters: WaiterSet) {
    this.#items = items
    this.#waiters = waiters
  }

  /** One notification for all of them: a sleeper that leaves some hands it off. */
  add(items: number): void {
    this.#items.add(items)
    this.#waiters.notifyOne()
  }

  takeSync(): boolean {
    return this.#waiters.waitSync(this.#taking, Number.POSITIVE_INFINITY)
  }

  take(): Promise<boolean> {
    return this.#waiters.wait(this.#taking, Number.POSITIVE_INFINITY, undefined)
  }

  readonly #taking: Condition = {
    poll: () => {
      for (;;) {
        const items = this.#items.value
        if (items === 0) return false
        if (this.#items.compareExchange(items, items - 1) === items) return true
      }
    },
    reapDead() {},
    dependsOn: () => [],
    handOffWakeup: () => {
      if (this.#items.value > 0) this.#waiters.notifyOne()
    },
  }
}

const WAITERS_OFFSET = 4
const layout: Layout<Stock> = {
  byteLength: WAITERS_OFFSET + WAITER_SET_BYTES,
  byteAlignment: 4,
  signature: 'interleaver-stock@1',
  initialize() {},
  attach: (region, byteOffset) =>
    new Stock(new Int32Field(region, byteOffset), new WaiterSet(region, byteOffset + WAITERS_OFFSET)),
  sweep: (region, byteOffset, deadPeer) => new WaiterSet(region, byteOffset + WAITERS_OFFSET).sweep(deadPeer),
}
const words = { layout, ...allOf(plainName('items', 0), waiterSetNames('waiters', WAITERS_OFFSET)) }

const prepare = (tools: { attach(): { readonly root: Stock } }) => tools.attach().root

function thread(times = 1) {
  return agent(layout, {
    prepare,
    run(stock) {
      for (let time = 0; time < times; time++) stock.takeSync()
    },
  })
}

const loop = agent(layout, {
  prepare,
  async run(stock) {
    await stock.take()
  },
})

const source = agent(layout, { prepare, run: (stock) => stock.add(1) })

function itemsIn({ words, rootByteOffset }: RegionWords): number {
  return words[rootByteOffset >>> 2]
}

/** All sleepers are up, and those that died are swept. */
function wrongEnd(region: RegionWords, items = 0): string | undefined {
  if (itemsIn(region) !== items) return `${itemsIn(region)} items are left, not ${items}`
  const waiting = (region.rootByteOffset + WAITERS_OFFSET) / 4 + 1
  const bitmaps = region.words.subarray(waiting, waiting + 8)
  return bitmaps.every((bits) => bits === 0) ? undefined : 'a peer is marked as a sleeper, and none sleeps'
}

export const waiterSet = scenario({
  name: 'waiter-set',
  about: 'A thread and an event loop want one item each. A notifier adds two and notifies once.',
  ...words,
  agents: { thread: thread(), loop, notifier: agent(layout, { prepare, run: (stock) => stock.add(2) }) },
  check: ({ region }) => wrongEnd(region),
})

export const waiterSetNotifiers = scenario({
  name: 'waiter-set-notifiers',
  about: 'A thread wants two items; two notifiers add one each. Both may find that none sleeps, and one of them late.',
  ...words,
  agents: { thread: thread(2), notifier: source, other: source },
  check: ({ region }) => wrongEnd(region),
})

export const waiterSetCrash = scenario({
  name: 'waiter-set-crash',
  about:
    'One of two threads that want an item each may crash anywhere, also with the only wake-up for both. Its slot is swept, and a further item is added: that wakes the other thread, without a slice.',
  ...words,
  mayCrash: ['victim'],
  agents: {
    victim: thread(),
    survivor: thread(),
    notifier: agent(layout, {
      prepare: (tools) => tools.attach(),
      run(region, tools) {
        region.root.add(2)
        const dead = tools.awaitCrash()
        if (dead === undefined) return
        region.declareDead(dead)
        region.root.add(1)
      },
    }),
  },
  check: ({ region, crashed }) => wrongEnd(region, crashed === undefined ? 0 : itemsIn(region)),
})

export const waiterSetNotifierCrash = scenario({
  name: 'waiter-set-notifier-crash',
  about:
    'A notifier may crash at any operation, also with a wake-up that it has not made. A successor adds two items and notifies: that wakes the sleeper, without a slice.',
  ...words,
  mayCrash: ['notifier'],
  agents: {
    thread: thread(2),
    notifier: agent(layout, {
      prepare,
      run(stock) {
        for (let item = 0; item < 2; item++) stock.add(1)
      },
    }),
    successor: agent(layout, {
      prepare,
      run(stock, tools) {
        if (tools.awaitCrash() !== undefined) stock.add(2)
      },
    }),
  },
  check: ({ region }) => wrongEnd(region, itemsIn(region)),
})
