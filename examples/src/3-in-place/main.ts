import { HeapRegion, spscRing } from 'isthmus'

using region = HeapRegion.create(spscRing({ capacityBytes: 4096 }))
const producer = region.root.producer()
const consumer = region.root.consumer()

producer.cork()
for (const bid of [99.5, 99.75, 99]) {
  const byteOffset = producer.tryClaim(16)
  if (byteOffset === -1) throw new Error('The ring is full')
  producer.doubles[byteOffset / 8] = bid
  producer.doubles[byteOffset / 8 + 1] = 100
  producer.commit()
}
console.log('corked:', consumer.drain(printSpread), 'messages')
producer.uncork()
console.log('uncorked:', consumer.drain(printSpread), 'messages')

function printSpread(_bytes: Uint8Array, byteOffset: number): void {
  const bid = consumer.doubles[byteOffset / 8]
  const ask = consumer.doubles[byteOffset / 8 + 1]
  console.log(`bid ${bid}, ask ${ask}: spread ${ask - bid}`)
}
