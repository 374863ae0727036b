import { HeapRegion, mpmcQueue, utf8 } from 'isthmus'

const LETTER = 0
const ALARM = 2

using region = HeapRegion.create(mpmcQueue({ blocks: 4, blockBytes: 64, codec: utf8, lanes: 3, reserved: 1 }))
const queue = region.root
const sender = queue.sender()

for (const text of ['letter 1', 'letter 2', 'letter 3', 'letter 4']) send(text, LETTER)
send('fire', ALARM)
queue.end()
for (const text of queue.receiver()) console.log(`received: ${text}`)

function send(text: string, priority: number): void {
  const isSent = sender.trySend(text, { priority })
  console.log(`${isSent ? 'sent' : 'no space'}: ${text}`)
}
