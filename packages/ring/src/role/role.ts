import { IsthmusError, type PeerDescription, type PeerId, type Region } from '@isthmus/sync'
import { assertStackRoom, slotOf } from '@isthmus/sync/internal'
import {
  CLOSED,
  DIED,
  epochOfRole,
  HELD,
  nextEpoch,
  type RoleState,
  roleWord,
  slotOfRole,
  stateOfRole,
  VACANT,
} from './layout.js'

/** Who has a role, and how many times it has been given out. */
export interface RoleDescription {
  readonly state: 'vacant' | 'held' | 'closed' | 'died'
  readonly epoch: number
  /** Undefined unless the role is held. */
  readonly holder: PeerDescription | undefined
}

/** The role word before and after an acquisition. */
export interface AcquiredRole {
  /** How the last holder left it. */
  readonly previous: number
  /** The word that is now this holder's; `close` takes it. */
  readonly word: number
}

const ROLE_STATE_NAMES = { [VACANT]: 'vacant', [HELD]: 'held', [CLOSED]: 'closed', [DIED]: 'died' } as const

/** A role that one agent at a time can have, and that survives the death of its holder. See layout.ts. */
export class Role {
  readonly #region: Region
  readonly #wordIndex: number
  readonly #name: string
  readonly #subject: string
  /** A role word whose holder is known to be another thread; 0 for none. A blocking call asks before every wait. */
  #foreignWord = 0

  /**
   * @param name what error messages call it, such as `producer`
   * @param subject what it is a role of, such as `the ring "orders" of the segment /shop`
   */
  constructor(region: Region, byteOffset: number, name: string, subject: string) {
    this.#region = region
    this.#wordIndex = byteOffset >>> 2
    this.#name = name
    this.#subject = subject
  }

  /** The word as it stands; see stateOfRole, epochOfRole. */
  get word(): number {
    // SYNC role taken: from here on, its new holder writes the words that belong to the role
    // SYNC role given up: everything that its last holder published
    return Atomics.load(this.#region.words, this.#wordIndex)
  }

  /**
   * Takes the role if it is free, or if its holder is proven dead.
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` if a live agent has it
   */
  acquire(): AcquiredRole {
    const taken = this.#take()
    if (taken.word === taken.previous) throw this.#takenError(taken.word)
    return taken
  }

  /** As acquire; returns undefined if a live agent has the role. */
  tryAcquire(): AcquiredRole | undefined {
    const taken = this.#take()
    return taken.word === taken.previous ? undefined : taken
  }

  /** Leaves the word as it is, `word === previous`, if a live agent has the role. */
  #take(): AcquiredRole {
    // Covers what the caller does next: a role whose handle could not be made could not be given back.
    assertStackRoom()
    for (;;) {
      const previous = this.word
      if (stateOfRole(previous) === HELD && !this.#isHolderDead(previous)) {
        if (this.word === previous) return { previous, word: previous }
        continue
      }
      const word = roleWord(nextEpoch(epochOfRole(previous)), HELD, slotOf(this.#region.peers.self))
      // SYNC role taken: from here on, its new holder writes the words that belong to the role
      if (this.#replace(previous, word)) return { previous, word }
    }
  }

  /** Gives the role back; `word` is what acquire returned. */
  close(word: number): void {
    // SYNC role given up: everything that its last holder published
    this.#replace(word, roleWord(epochOfRole(word), CLOSED, slotOfRole(word)))
  }

  /** For a sweep: the dead peer no longer has the role. Returns whether it had it. */
  sweep(deadPeer: PeerId): boolean {
    const word = this.word
    const hadRole = stateOfRole(word) === HELD && slotOfRole(word) === slotOf(deadPeer)
    if (hadRole) this.#replaceByDied(word)
    return hadRole
  }

  /**
   * The state of the role after a liveness check: HELD by a dead peer becomes DIED here. What the holder published, it
   * published before this returns CLOSED or DIED.
   */
  observe(): { state: RoleState; epoch: number } {
    for (;;) {
      const word = this.word
      const state = stateOfRole(word)
      if (state === HELD && this.#isHolderDead(word)) this.#replaceByDied(word)
      else return { state, epoch: epochOfRole(word) }
    }
  }

  /** Whether this very thread has the role, through any of its attachments: to block for it would be to block for itself. */
  isHeldBySelf(): boolean {
    const word = this.word
    if (word === this.#foreignWord) return false
    if (stateOfRole(word) === HELD) {
      const holder = this.#region.peers.at(slotOfRole(word))
      if (holder !== undefined && this.#region.peers.isOwnThread(holder)) return true
      // Role words do not repeat, so this one stays another thread's.
      if (holder !== undefined) this.#foreignWord = word
    }
    return false
  }

  /** The peer that has the role, dead or alive: none, or one. */
  holders(): PeerId[] {
    const { word } = this
    const holder = stateOfRole(word) === HELD ? this.#region.peers.at(slotOfRole(word)) : undefined
    return holder === undefined ? [] : [holder]
  }

  /** For tools. It changes nothing, so a holder that died may still be shown as the holder, with `isDead`. */
  describe(): RoleDescription {
    const { word } = this
    const [holder] = this.holders()
    return {
      state: ROLE_STATE_NAMES[stateOfRole(word)],
      epoch: epochOfRole(word),
      holder: holder === undefined ? undefined : this.#region.peers.describe(holder),
    }
  }

  /** If the slot is no longer LIVE, its holder was proven dead, and its sweep is under way or over. */
  #isHolderDead(word: number): boolean {
    const { peers } = this.#region
    const holder = peers.at(slotOfRole(word))
    return holder === undefined || peers.isDead(holder)
  }

  #replaceByDied(word: number): void {
    // SYNC role given up: everything that its last holder published
    this.#replace(word, roleWord(epochOfRole(word), DIED, slotOfRole(word)))
  }

  #replace(word: number, replacement: number): boolean {
    return Atomics.compareExchange(this.#region.words, this.#wordIndex, word, replacement) === word
  }

  #takenError(word: number): IsthmusError {
    const holder = this.#region.peers.at(slotOfRole(word))
    const { pid, threadId } = holder === undefined ? { pid: 0, threadId: 0 } : this.#region.peers.describe(holder)
    const who =
      slotOfRole(word) === slotOf(this.#region.peers.self) ? 'this attachment' : `process ${pid}, thread ${threadId}`
    return new IsthmusError(
      'ERR_ISTHMUS_ROLE_TAKEN',
      `Becoming the ${this.#name} of ${this.#subject}: ${who} has this role and is alive. Close that handle first.`,
    )
  }
}
