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

const ROLE_STATE_NAMES = { [VACANT]: 'vacant', [HELD]: 'held', [CLOSED]: 'closed', [DIED]: 'died' } as const

/** A role of which one agent at a time is the holder, and which survives the holder's death. See layout.ts. */
export class Role {
  readonly #region: Region
  readonly #index: number
  readonly #name: string
  /** A word whose holder is known to be of another thread; 0 for none. Those who block ask before every wait. */
  #judgedWord = 0
  readonly #subject: string

  /**
   * @param name what error messages call it, such as `producer`
   * @param subject of what it is a role
   */
  constructor(region: Region, byteOffset: number, name: string, subject = 'a ring') {
    this.#region = region
    this.#index = byteOffset >>> 2
    this.#name = name
    this.#subject = subject
  }

  /** The word as it stands; see stateOfRole, epochOfRole. */
  get word(): number {
    return Atomics.load(this.#region.words, this.#index)
  }

  /**
   * Takes the role where nobody has it, or where its holder is proven dead.
   * @returns what the word was before, and what it is now
   * @throws IsthmusError `ERR_ISTHMUS_ROLE_TAKEN` where a live agent has it
   */
  acquire(): { previous: number; word: number } {
    // For what its caller does next, too: a role without a handle could not be given back.
    assertStackRoom()
    for (;;) {
      const previous = this.word
      if (stateOfRole(previous) === HELD && !this.#isHolderDead(previous)) {
        if (this.word === previous) throw this.#takenError(previous)
        continue
      }
      const word = roleWord(nextEpoch(epochOfRole(previous)), HELD, slotOf(this.#region.peers.self))
      if (this.#replace(previous, word)) return { previous, word }
    }
  }

  /** Gives the role back; `word` is what acquire returned. */
  close(word: number): void {
    this.#replace(word, roleWord(epochOfRole(word), CLOSED, slotOfRole(word)))
  }

  /** For a sweep: the dead peer no longer has the role. Returns whether it had. */
  sweep(deadPeer: PeerId): boolean {
    const word = this.word
    const hadRole = stateOfRole(word) === HELD && slotOfRole(word) === slotOf(deadPeer)
    if (hadRole) this.#replaceByDied(word)
    return hadRole
  }

  /**
   * The state of the role, with the proof: HELD by a dead peer becomes DIED here. What the holder published, it published
   * before this returned CLOSED or DIED.
   */
  observe(): { state: RoleState; epoch: number } {
    for (;;) {
      const word = this.word
      const state = stateOfRole(word)
      if (state === HELD && this.#isHolderDead(word)) this.#replaceByDied(word)
      else return { state, epoch: epochOfRole(word) }
    }
  }

  /** Whether this very thread has the role, through whichever attachment: blocking for it, it would wait for itself. */
  isHeldBySelf(): boolean {
    const word = this.word
    if (word === this.#judgedWord) return false
    if (stateOfRole(word) === HELD) {
      const holder = this.#region.peers.at(slotOfRole(word))
      if (holder !== undefined && this.#region.peers.isOwnThread(holder)) return true
      // Who acquired it with this word is another thread, and no word ever comes back.
      if (holder !== undefined) this.#judgedWord = word
    }
    return false
  }

  /** The peer that has the role, dead or alive: none, or one. */
  holders(): PeerId[] {
    const { word } = this
    const holder = stateOfRole(word) === HELD ? this.#region.peers.at(slotOfRole(word)) : undefined
    return holder === undefined ? [] : [holder]
  }

  /** For tools. Changes nothing, so a holder that died may still stand as one, with `isDead`. */
  describe(): RoleDescription {
    const { word } = this
    const [holder] = this.holders()
    return {
      state: ROLE_STATE_NAMES[stateOfRole(word)],
      epoch: epochOfRole(word),
      holder: holder === undefined ? undefined : this.#region.peers.describe(holder),
    }
  }

  /** A slot that is no longer LIVE had its holder proven dead, and is being swept or has been. */
  #isHolderDead(word: number): boolean {
    const { peers } = this.#region
    const holder = peers.at(slotOfRole(word))
    return holder === undefined || peers.isDead(holder)
  }

  #replaceByDied(word: number): void {
    this.#replace(word, roleWord(epochOfRole(word), DIED, slotOfRole(word)))
  }

  #replace(word: number, replacement: number): boolean {
    return Atomics.compareExchange(this.#region.words, this.#index, word, replacement) === word
  }

  #takenError(word: number): IsthmusError {
    const holder = this.#region.peers.at(slotOfRole(word))
    const { pid, threadId } = holder === undefined ? { pid: 0, threadId: 0 } : this.#region.peers.describe(holder)
    const who =
      slotOfRole(word) === slotOf(this.#region.peers.self) ? 'this attachment' : `process ${pid}, thread ${threadId}`
    return new IsthmusError(
      'ERR_ISTHMUS_ROLE_TAKEN',
      `Becoming the ${this.#name} of ${this.#subject}: ${who} has this role and is alive. Close that handle first, or use a ring for each.`,
    )
  }
}
