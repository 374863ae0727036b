import type { MpmcQueue, Receiver } from '@isthmus/ring'
import { Breach, type Call } from '../call.js'
import type { Ground } from '../ground.js'
import type { Random } from '../random.js'
import type { Subject, Users } from '../subject.js'
import { QUEUE_BLOCKS, queueAtLeastOnce } from './queue.js'

/** After a crash of the machine a queue may contain anything. `recover` must leave a queue that works, with all its blocks. */
export const queueRecovery: Subject = {
  ...queueAtLeastOnce,
  name: 'queue-recovery',
  enter: (ground) => new RecoveryUsers(ground as Ground<MpmcQueue>),
}

class RecoveryUsers implements Users {
  readonly #ground: Ground<MpmcQueue>

  constructor(ground: Ground<MpmcQueue>) {
    this.#ground = ground
  }

  next(_random: Random): Call {
    return { name: 'recover', run: () => this.#recover() }
  }

  leave(): Call[] {
    return []
  }

  #recover(): void {
    const { structure, structureByteOffset, first, second, peerIds } = this.#ground
    // As after a boot: every earlier peer is dead and swept.
    for (const peer of peerIds) structure.sweep(first, structureByteOffset, peer)
    structure.recover?.(first, structureByteOffset)
    const sender = this.#ground.use(first).sender()
    const queue = this.#ground.use(second)
    const receivers = [queue.receiver(), queue.deadLetters()]
    for (const receiver of receivers) {
      receiveAll(receiver)
      receiver.close()
    }
    try {
      let sent = 0
      while (sent <= QUEUE_BLOCKS && sender.trySend(new Uint8Array(4), { priority: 1 })) sent++
      if (sent !== QUEUE_BLOCKS) throw new Breach(`a recovered queue has ${sent} blocks`)
      const receiver = queue.receiver()
      for (; sent > 0; sent--) if (!receiver.tryReceive()) throw new Breach('a message of a recovered queue is missing')
      receiver.close()
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CORRUPT') throw error
      throw new Breach(`a recovered queue is corrupt: ${(error as Error).message}`)
    }
  }
}

/** The contents of blocks may be damaged: each of them is reported once, and dropped. */
function receiveAll(receiver: Receiver): void {
  let damaged = 0
  while (damaged <= QUEUE_BLOCKS) {
    try {
      const batch = receiver.tryReceiveBatch()
      if (batch === undefined || batch === null) return
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CORRUPT') throw error
      damaged++
    }
  }
  throw new Breach('a recovered queue reports more damaged blocks than it has')
}
