import { IsthmusError, IsthmusRangeError, IsthmusTypeError, inWords } from '../errors.js'
import { assertStackRoom } from '../host/stack-room.js'
import type { Layout } from '../layout/layout.js'
import { MAX_PEERS } from '../peers/peer-id.js'
import type { PeerDescription } from '../peers/peers.js'
import { assertOpen, type Region } from '../region/region.js'
import { assertOptions } from '../waiting/wait-options.js'
import { BarrierMember } from './barrier-member.js'
import { type BarrierRules, BarrierWords, type OnMemberDeath } from './barrier-words.js'
import { BARRIER_BYTES, hasArrivedAt, peerOfMember } from './layout.js'

export interface BarrierOptions {
  /** With how many members the first phase can end; 1 if not given. Later phases end with those that are members then. */
  readonly parties?: number
  /** What the death of a member does; 'break' if not given. */
  readonly onDeath?: OnMemberDeath
}

export interface BarrierDescription {
  /** The number of the current phase: one more after each phase, two more after a reset; it wraps. */
  readonly phase: number
  readonly isBroken: boolean
  readonly members: readonly BarrierMemberDescription[]
  readonly waiters: readonly PeerDescription[]
}

export interface BarrierMemberDescription extends PeerDescription {
  /** Whether it has arrived at the current phase. */
  readonly hasArrived: boolean
}

/**
 * A barrier in shared memory: its members go on when all of them have arrived.
 *
 * @example
 * ```ts
 * const region = HeapRegion.create(barrier({ parties: 1 }))
 * const member = region.root.join()
 * member.waitSync() // true: the only member has arrived
 * member.leave()
 * ```
 *
 * @throws IsthmusRangeError, IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT`
 */
export function barrier(options: BarrierOptions = {}): Layout<Barrier> {
  assertOptions(options, 'Making a barrier')
  const { parties = 1, onDeath = 'break' } = options
  if (!Number.isInteger(parties) || parties < 1 || parties > MAX_PEERS) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a barrier: parties is ${inWords(parties)}. Give a whole number from 1 to ${MAX_PEERS}.`,
    )
  }
  if (onDeath !== 'break' && onDeath !== 'drop') {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a barrier: onDeath is ${inWords(onDeath)}. Give 'break' or 'drop'.`,
    )
  }
  const rules: BarrierRules = { parties, onDeath }
  return {
    byteLength: BARRIER_BYTES,
    byteAlignment: 4,
    signature: `barrier@1(parties=${parties},onDeath=${onDeath})`,
    /** Zeroed memory is a barrier without members in its first phase. */
    initialize() {},
    attach: (region, byteOffset) => new Barrier(region, byteOffset, rules),
    sweep: (region, byteOffset, deadPeer) => new BarrierWords(region, byteOffset, rules).sweep(deadPeer),
  }
}

/**
 * An attached barrier. An attachment becomes a member with `join`, and is one until it leaves. All waiting goes through the
 * member that `join` returns.
 *
 * A central barrier in which each member notes its arrival in a word of its own instead of a shared counter, with explicit
 * registration as in Java's Phaser. One CAS ends the phase, by any agent that sees that all have arrived.
 */
export class Barrier {
  readonly #region: Region
  readonly #words: BarrierWords
  #member: BarrierMember | undefined

  /** @internal Use the `barrier` layout. */
  constructor(region: Region, byteOffset: number, rules: BarrierRules) {
    this.#region = region
    this.#words = new BarrierWords(region, byteOffset, rules)
  }

  /**
   * Becomes a member: from now on no phase ends without this attachment.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(barrier())
   * const member = root.join()
   * root.describe().members.length // 1
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CALL_ORDER` if this attachment is a member already; `ERR_ISTHMUS_CLOSED`
   */
  join(): BarrierMember {
    assertOpen(this.#region)
    if (this.#member?.hasLeft === false) {
      throw new IsthmusError(
        'ERR_ISTHMUS_CALL_ORDER',
        'Joining a barrier: this attachment is a member of it. Leave first, or attach once more.',
      )
    }
    assertStackRoom()
    this.#words.join()
    this.#member = new BarrierMember(this.#words)
    return this.#member
  }

  /**
   * After a member's death has broken the barrier: begins a new phase, without the members that died. Any agent may call it;
   * a barrier that is not broken stays as it is.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(barrier())
   * if (root.describe().isBroken) root.reset()
   * ```
   *
   * @throws IsthmusError `ERR_ISTHMUS_CLOSED`
   */
  reset(): void {
    assertOpen(this.#region)
    this.#words.reset()
  }

  /** @internal */
  get state(): { phase: number; isBroken: boolean } {
    return this.#words.state
  }

  /**
   * Shows the members, which of them have arrived, and the waiters, for people and tools. It may be outdated when it is read.
   *
   * @example
   * ```ts
   * const { root } = HeapRegion.create(barrier())
   * root.describe().phase // 0
   * ```
   */
  describe(): BarrierDescription {
    const { peers } = assertOpen(this.#region)
    const { phase, isBroken } = this.state
    const members = this.#words.members().map((word) => {
      return { ...peers.describe(peerOfMember(word)), hasArrived: hasArrivedAt(word, phase) }
    })
    return { phase, isBroken, members, waiters: this.#words.waiters.waiters() }
  }
}
