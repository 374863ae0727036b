import { Segment } from 'isthmus'
import { name, orders } from './orders.js'

using segment = Segment.openOrCreate(name, orders)
const { ring, total } = segment.root
for (const { item, price } of ring.consumer()) console.log(`${item}: ${price}`)
console.log(`total: ${total.value}`)
Segment.unlink(name)
