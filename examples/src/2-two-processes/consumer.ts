import { Segment } from 'isthmus'
import { name, orders } from './orders.js'

const segment = Segment.openOrCreate(name, orders)
try {
  const consumer = segment.root.ring.consumer()
  for (const order of consumer) {
    console.log(`${order.item}: ${order.price}`)
  }
  console.log(`total: ${segment.root.total.value}`)
} finally {
  segment.close()
}
Segment.unlink(name)
