import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { name, orders } from './orders.js'

using segment = Segment.openOrCreate(name, orders)
const { ring, total } = segment.root
const producer = ring.producer()
for (const [item, price] of Object.entries({ espresso: 2.5, croissant: 3, tea: 4.5 })) {
  total.value += price
  producer.sendSync({ item, price })
  await setTimeout(1000)
}
