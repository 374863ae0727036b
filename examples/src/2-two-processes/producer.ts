import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { name, orders } from './orders.js'

const segment = Segment.openOrCreate(name, orders)
try {
  const producer = segment.root.ring.producer()
  for (const [item, price] of Object.entries({ espresso: 2.5, croissant: 3, tea: 4.5 })) {
    segment.root.total.value += price
    producer.sendSync({ item, price })
    await setTimeout(1000)
  }
} finally {
  segment.close()
}
