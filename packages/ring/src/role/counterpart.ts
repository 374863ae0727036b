import type { PeerId, Region } from '@isthmus/sync'
import { LivenessCheckThrottle } from '@isthmus/sync/internal'
import { CLOSED, DIED, epochOfRole, HELD, type RoleState, slotOfRole, stateOfRole, VACANT } from './layout.js'
import type { Role } from './role.js'

/** An agent, as error messages name it. */
export interface Agent {
  readonly pid: number
  readonly threadId: number
}

/** An epoch of the other role that is over. */
export interface EndedEpoch {
  readonly epoch: number
  readonly state: typeof CLOSED | typeof DIED
  /** The role word that showed it, before its holder was proven dead. */
  readonly word: number
}

/** What a handle has said of an end: nothing yet; something to its own program; or a handle before it did. */
export type Told = 'untold' | 'told' | 'told-before'

/**
 * The agent in the other role, and what this handle has told its program about that agent's end: judge it, report it once,
 * remember that. Everything here is for calls that found nothing to do: no message, or no space.
 *
 * ```
 *              takes the role         closes, or is proven dead        judge           markTold
 *   (VACANT) ─────────────────> HELD ────────────────────────> ended ─────────> untold ─────────> told
 *                                ^                               |                                  |
 *                                +───────────────────────────────+──────────────────────────────────+
 *                                        a successor takes the role: the next epoch begins
 * ```
 *
 * | state        | how it is known                              | what the program gets                                  |
 * |--------------|----------------------------------------------|--------------------------------------------------------|
 * | VACANT, HELD | the role word                                | nothing: its call waits                                |
 * | ended        | the role word, CLOSED or DIED                | nothing yet: what was published before comes first     |
 * | untold       | `judge`: its epoch is not `toldEpoch`        | the end, or the death                                  |
 * | told         | `toldEpoch` of this handle                   | a death: nothing more. A close: `null`, in every call  |
 * | told before  | the reported epoch word when this handle     | nothing: it waits for the next epoch                   |
 * |              | took its role (`inheritedEpoch`)             |                                                        |
 *
 * If a successor takes the role between "ended" and `judge`, that end is never told: the successor's messages follow.
 */
export class Counterpart {
  readonly #region: Region
  readonly #role: Role
  readonly #check = new LivenessCheckThrottle()
  /** The latest epoch in which we saw a holder, and that holder. */
  #agentEpoch = 0
  #agent: Agent | undefined
  /** The role word as the last judgement found it. It differs from the word if and only if there may be news. */
  #judgedWord = 0
  /** The epoch whose end was told through this handle; 0 for none. */
  #toldEpoch = 0
  /** The epoch whose end was told through a handle before this one. */
  #inheritedEpoch = 0
  readonly #reportedEpochWord: number | undefined

  /**
   * @param reportedEpochOffset the word that tells our successor which end was told; undefined if this concerns no
   * successor
   */
  constructor(region: Region, role: Role, reportedEpochOffset?: number) {
    this.#region = region
    this.#role = role
    this.#reportedEpochWord = reportedEpochOffset === undefined ? undefined : reportedEpochOffset >>> 2
    this.note()
  }

  /** Reads what our predecessor told. To be called when our own role is taken: until then the predecessor may tell more. */
  inheritTold(): void {
    if (this.#reportedEpochWord === undefined) return
    this.#inheritedEpoch = Atomics.load(this.#region.words, this.#reportedEpochWord)
  }

  /** An epoch that has ended before this handle began is not told, nor one whose holder is found dead now. */
  passOverEnded(): void {
    const { state, epoch } = this.#role.observe()
    if (hasEnded(state)) this.#inheritedEpoch = epoch
  }

  /** The peer that has the role, dead or alive: none, or one. */
  holders(): PeerId[] {
    return this.#role.holders()
  }

  /** Whether a peer has the role, as far as is known. Costs one load. */
  get isHeld(): boolean {
    return stateOfRole(this.#role.word) === HELD
  }

  /** Whether this very thread has the role: to block for it would be to block for itself. */
  isOwnThread(): boolean {
    return this.#role.isHeldBySelf()
  }

  /** Whether a call that found nothing to do should pay for a liveness check now. */
  isCheckDue(): boolean {
    return this.#check.isDue()
  }

  /** Proves the death of a holder that is dead, and marks the role as DIED. Its name is noted first. */
  reapDead(): void {
    this.note()
    this.#role.observe()
  }

  /** Who held the role in this epoch; undefined if this handle did not look while it did. */
  agentIn(epoch: number): Agent | undefined {
    return epoch === this.#agentEpoch ? this.#agent : undefined
  }

  /**
   * Remembers who has the role, once for each epoch: by the time a death is told, the dead peer's slot may have been swept
   * and have another holder.
   */
  note(word = this.#role.word): void {
    if (stateOfRole(word) !== HELD || epochOfRole(word) === this.#agentEpoch) return
    const { peers } = this.#region
    const holder = peers.at(slotOfRole(word))
    if (holder === undefined) return
    const { pid, threadId } = peers.describe(holder)
    // As long as the role word names this holder, its slot has not been swept: the description is this holder's.
    if (this.#role.word !== word) return
    this.#agent = { pid, threadId }
    this.#agentEpoch = epochOfRole(word)
  }

  /** Whether a death is proven already and untold. Costs one load, and proves nothing by itself. */
  hasUntoldDeath(): boolean {
    const { word } = this.#role
    this.note(word)
    return stateOfRole(word) === DIED && epochOfRole(word) !== this.#toldEpoch
  }

  /** The death that the program has to be told of, after a liveness check; undefined if there is none. */
  findUntoldDeath(): EndedEpoch | undefined {
    const { word } = this.#role
    this.note(word)
    const { state, epoch } = this.#role.observe()
    return state === DIED && epoch !== this.#toldEpoch ? { epoch, state, word } : undefined
  }

  /**
   * The end of the current epoch; undefined if it goes on, as far as is known: a holder is checked only if a check is due.
   * What the holder published, it published before its epoch ended. So the caller takes all of that first, and calls
   * `judge` when nothing is left.
   */
  findEnd(): EndedEpoch | undefined {
    const { word } = this.#role
    const isKnown = word === this.#judgedWord && stateOfRole(word) === HELD
    return isKnown && !this.#check.isDue() ? undefined : this.#findEndOf(word)
  }

  /** The rest of findEnd, apart from it, for the sake of a program that polls an empty ring. */
  #findEndOf(word: number): EndedEpoch | undefined {
    if (word !== this.#judgedWord) {
      this.note(word)
      if (stateOfRole(word) === HELD && !this.#check.isDue()) {
        this.#judgedWord = word
        return undefined
      }
    }
    const { state, epoch } = this.#role.observe()
    if (hasEnded(state)) return { epoch, state, word }
    this.#judgedWord = word
    return undefined
  }

  /** What was told of this end so far. A caller that tells it calls `markTold` then. */
  judge({ epoch, word }: EndedEpoch): Told {
    this.#judgedWord = word
    if (epoch === this.#inheritedEpoch) return 'told-before'
    if (epoch !== this.#toldEpoch) return 'untold'
    this.recordTold()
    return 'told'
  }

  /** The epoch whose end was told last through this handle. */
  get toldEpoch(): number {
    return this.#toldEpoch
  }

  /** The end of this epoch is told now. Nothing that can fail may follow in the call: an end counts as told only if it is. */
  markTold(epoch: number): void {
    this.#toldEpoch = epoch
  }

  /**
   * Records what was told for our successor. Only when the program calls again: if we are killed before that, our program
   * has perhaps not seen it, and the successor tells it.
   */
  recordTold(): void {
    if (this.#reportedEpochWord === undefined || this.#toldEpoch === 0) return
    Atomics.store(this.#region.words, this.#reportedEpochWord, this.#toldEpoch)
  }

  /**
   * Whether the role has changed since it was judged. Compared with the word that was judged and not with a word read
   * now: the holder may have closed in between, and a waiter would miss it.
   */
  hasChanged(): boolean {
    return this.#role.word !== this.#judgedWord
  }

  /** Whether a close was told: until there is a successor, every call tells it again. */
  hasClosedForGood(): boolean {
    const { word } = this.#role
    return stateOfRole(word) === CLOSED && epochOfRole(word) === this.#toldEpoch
  }

  /** Before a wait that takes nothing: judges the role as it stands, unless its end has still to be told. */
  judgeBeforeWait(): void {
    const { word } = this.#role
    this.note(word)
    const state = stateOfRole(word)
    const epoch = epochOfRole(word)
    // A close that this handle has told is told again, by every call. A death is not.
    const isTold = epoch === this.#toldEpoch ? state === DIED : epoch === this.#inheritedEpoch
    if (!hasEnded(state) || isTold) this.#judgedWord = word
  }
}

function hasEnded(state: RoleState): state is typeof CLOSED | typeof DIED {
  return state !== HELD && state !== VACANT
}

/** For error messages, after `its producer` and the like. */
export function nameOf(agent: Agent | undefined): string {
  return agent === undefined
    ? ' (which process that was is no longer known)'
    : `, process ${agent.pid}, thread ${agent.threadId},`
}
