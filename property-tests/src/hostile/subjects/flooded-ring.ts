import { type Consumer, type SpscRing, spscRing } from '@isthmus/ring'
import { PADDING } from '../../../../packages/ring/src/record/layout.js'
import {
  READ_POSITION_OFFSET,
  RECORDS_OFFSET,
  WRITE_POSITION_OFFSET,
} from '../../../../packages/ring/src/spsc/layout.js'
import type { Call } from '../call.js'
import type { Ground } from '../ground.js'
import type { Random } from '../random.js'
import type { Subject, Users } from '../subject.js'

const CAPACITY_BYTES = 1 << 16

/** A hostile producer publishes padding faster than the consumer can read it. Even then each call must end. */
export const floodedRing: Subject = {
  name: 'flooded-ring',
  structure: spscRing({ capacityBytes: CAPACITY_BYTES, maxMessageBytes: 4096 }),
  enter: (ground) => new FloodedConsumer(ground as Ground<SpscRing>),
  scribble(words, firstWord) {
    const at = (byteOffset: number) => firstWord + byteOffset / 4
    const firstRecord = at(RECORDS_OFFSET)
    if (words[firstRecord + 1] !== PADDING) {
      for (let word = 0; word < CAPACITY_BYTES / 4; word += 2) words[firstRecord + word + 1] = PADDING
    }
    const readPosition = Atomics.load(words, at(READ_POSITION_OFFSET))
    Atomics.store(words, at(WRITE_POSITION_OFFSET), (readPosition + CAPACITY_BYTES) | 0)
  },
}

class FloodedConsumer implements Users {
  readonly #consumer: Consumer

  constructor(ground: Ground<SpscRing>) {
    this.#consumer = ground.use(ground.second).consumer()
  }

  next(random: Random): Call {
    const consumer = this.#consumer
    const timeoutMs = random.below(4)
    return random.of<Call>([
      { name: 'tryReceive', run: () => consumer.tryReceive() },
      { name: 'drain', run: () => consumer.drain(() => {}) },
      { name: 'receiveSync', timeoutMs, run: () => consumer.receiveSync({ timeoutMs }) },
      { name: 'receive', timeoutMs, run: () => consumer.receive({ timeoutMs }) },
      { name: 'receiveChunkSync', timeoutMs, run: () => consumer.receiveChunkSync({ timeoutMs }) },
      { name: 'receiveChunk', timeoutMs, run: () => consumer.receiveChunk({ timeoutMs }) },
      { name: 'acknowledge', run: () => consumer.acknowledge() },
    ])
  }

  leave(): Call[] {
    return [{ name: 'close consumer', run: () => this.#consumer.close() }]
  }
}
