import { setTimeout } from 'node:timers/promises'
import { type OverrunError, Segment } from 'isthmus'
import { market, name } from './market.js'

using segment = Segment.openOrCreate(name, market)
// Without a gate the publisher does not wait. If this subscriber is too slow, an error says how much it has missed.
using subscriber = segment.root.subscriber({ onOverrun: 'throw' })
process.send?.('ready')

let received = 0
for (let isOver = false; !isOver; ) {
  try {
    for await (const quotes of subscriber.batches()) {
      received += quotes.length
      const { number, symbol, price } = quotes[quotes.length - 1]
      console.log(`quote ${number}: ${symbol} ${price}`)
      await setTimeout(400)
    }
    isOver = true
  } catch (error) {
    switch ((error as { code?: string }).code) {
      case 'ERR_ISTHMUS_OVERRUN':
        console.log(`${(error as OverrunError).lost} quotes were too quick for this ticker.`)
        break
      case 'ERR_ISTHMUS_PEER_DIED':
        console.log('The publisher died. Waiting for the next one.')
        process.send?.('died')
        break
      default:
        throw error
    }
  }
}
console.log(`The publisher closed. ${received} quotes shown, ${subscriber.lost} missed.`)
process.send?.({ received, lost: subscriber.lost })
process.disconnect?.()
