import { type SpscRing, spscRing } from '@isthmus/ring'
import { Breach, type Call } from '../call.js'
import type { Ground } from '../ground.js'
import type { Random } from '../random.js'
import type { Subject, Users } from '../subject.js'
import { forgeRecords, MAX_MESSAGE_BYTES } from './ring.js'

const RECEIVES_MAX = 64

/** After a crash of the machine a ring may contain anything. `recover` must leave a ring that works. */
export const recovery: Subject = {
  name: 'recovery',
  structure: spscRing({ capacityBytes: 256, maxMessageBytes: MAX_MESSAGE_BYTES }),
  enter: (ground) => new RecoveryUsers(ground as Ground<SpscRing>),
  strike: (ground, random) => forgeRecords(ground, random),
}

class RecoveryUsers implements Users {
  readonly #ground: Ground<SpscRing>

  constructor(ground: Ground<SpscRing>) {
    this.#ground = ground
  }

  next(_random: Random): Call {
    return { name: 'recover', run: () => this.#recover() }
  }

  leave(): Call[] {
    return []
  }

  #recover(): void {
    const { structure, structureByteOffset, first, second } = this.#ground
    // As after a boot: every earlier peer is dead and swept.
    for (const peer of this.#ground.peerIds) structure.sweep(first, structureByteOffset, peer)
    structure.recover?.(first, structureByteOffset)
    const isFree = (role: { state: string }) => role.state !== 'held'
    const { producer: producerRole, consumer: consumerRole } = this.#ground.use(first).describe()
    // A role word that names a peer that never existed is not swept with any peer.
    if (!isFree(producerRole) || !isFree(consumerRole)) return
    try {
      const consumer = this.#ground.use(second).consumer()
      try {
        const producer = this.#ground.use(first).producer()
        producer.close()
        receiveAll(consumer)
      } finally {
        consumer.close()
      }
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CORRUPT') throw error
      throw new Breach(`a recovered ring is corrupt: ${(error as Error).message}`)
    }
  }
}

function receiveAll(consumer: { tryReceive(): unknown }): void {
  for (let count = 0; count < RECEIVES_MAX; count++) {
    try {
      const message = consumer.tryReceive()
      if (message === null || message === undefined) return
    } catch (error) {
      const { code } = error as { code?: string }
      if (code !== 'ERR_ISTHMUS_MESSAGE_INCOMPLETE' && code !== 'ERR_ISTHMUS_PEER_DIED') throw error
    }
  }
}
