import { setTimeout } from 'node:timers/promises'
import { Segment } from 'isthmus'
import { market, name, type Quote } from './market.js'

const last = Number(process.argv[3] ?? 1_000_000)
let isInterrupted = false
process.once('SIGINT', () => {
  isInterrupted = true
})

using segment = Segment.openOrCreate(name, market)
using publisher = segment.root.publisher()
// A successor goes on where its predecessor was killed.
let number = segment.root.describe().publishedMessages
console.log(`Publishing from quote ${number + 1} on.`)
while (number < last && !isInterrupted) {
  const quotes: Quote[] = []
  while (quotes.length < 20 && number < last)
    quotes.push({ number: ++number, symbol: 'ISTH', price: 100 + (number % 7) })
  await publish(quotes)
  await setTimeout(10)
}
// Attached subscribers receive the rest all the same.
Segment.unlink(name)

/** Waits for the subscriber that has the gate, but no longer than 3 seconds: then it is stopped, or far too slow. */
async function publish(quotes: Quote[]): Promise<void> {
  for (let sent = 0; ; ) {
    sent += await publisher.publishBatch(quotes.slice(sent), { timeoutMs: 3000 })
    if (sent === quotes.length) return
    for (const gate of publisher.gates()) {
      if (gate.behindBytes < segment.root.capacityBytes / 2) continue
      if (publisher.demote(gate))
        console.log(`Process ${gate.owner?.pid} keeps all others waiting: its gate is taken away.`)
    }
  }
}
