import { HeapRegion, mutex, type PeerId, semaphore, struct } from '@isthmus/sync'
import { MAX_PEERS } from '@isthmus/sync/internal'
import type { Call } from '../call.js'
import type { Ground } from '../ground.js'
import type { Random } from '../random.js'
import type { Subject, Users } from '../subject.js'

/** What a dead peer may hold, so that its sweep has something to free. */
const belongings = struct({ lock: mutex(), permits: semaphore({ permits: 2 }) })

/** Peers attach, leave, die and query each other in a corrupted peers table. */
export const peers: Subject = {
  name: 'peers',
  structure: belongings,
  enter: (ground) => new PeersUsers(ground),
}

class PeersUsers implements Users {
  readonly #ground: Ground

  constructor(ground: Ground) {
    this.#ground = ground
  }

  next(random: Random): Call {
    const { first, second, peerIds } = this.#ground
    const anyPeer = (random.isOneIn(2) ? random.of(peerIds) : random.word() & 0x1fffffff) as PeerId
    return random.of<Call>([
      { name: 'attach and close', run: () => this.#attachAndClose() },
      { name: 'attach and close', run: () => this.#attachAndClose() },
      { name: 'list', run: () => first.peers.list() },
      { name: 'others', run: () => second.peers.others() },
      { name: 'hasDead', run: () => second.peers.hasDead() },
      { name: 'isDead', run: () => first.peers.isDead(anyPeer) },
      { name: 'at', run: () => first.peers.at(random.below(MAX_PEERS)) },
      { name: 'describe', run: () => second.peers.describe(anyPeer) },
      { name: 'wakeLoop', run: () => first.waiter.wakeLoop(anyPeer) },
      { name: 'declareDead', run: () => this.#declareDead(second.peers.self) },
    ])
  }

  leave(): Call[] {
    return []
  }

  #attachAndClose(): void {
    const third = this.#ground.attach()
    third.close()
  }

  #declareDead(peer: PeerId): void {
    const { first } = this.#ground
    if (first instanceof HeapRegion) first.declareDead(peer)
  }
}
