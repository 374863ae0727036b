import { type OverrunError, Segment } from 'isthmus'
import { market, name } from './market.js'

using segment = Segment.openOrCreate(name, market)
// With the gate it misses nothing, and the publisher waits for it.
using subscriber = segment.root.subscriber({ gate: true })
process.send?.('ready')

let received = 0
for (let isOver = false; !isOver; ) {
  try {
    for await (const { number, symbol, price } of subscriber) {
      received++
      if (number % 1000 === 0) console.log(`${received} quotes recorded; quote ${number}: ${symbol} ${price}`)
    }
    isOver = true
  } catch (error) {
    switch ((error as { code?: string }).code) {
      case 'ERR_ISTHMUS_PEER_DIED':
        console.log('The publisher died. Waiting for the next one.')
        process.send?.('died')
        break
      case 'ERR_ISTHMUS_OVERRUN':
        // The publisher has taken the gate away, because this process was stopped. From here on nothing is missed again.
        console.log(`${(error as OverrunError).lost} quotes missed. A gate again: ${subscriber.tryTakeGate()}`)
        break
      default:
        throw error
    }
  }
}
console.log(`The publisher closed. ${received} quotes recorded, ${subscriber.lost} missed.`)
process.send?.({ received, lost: subscriber.lost })
process.disconnect?.()
