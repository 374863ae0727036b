import type { PeerDescription, PeerId } from '@isthmus/sync'
import { assertStackRoom, type EventCount, slotOf } from '@isthmus/sync/internal'
import { corruptError } from '../errors.js'
import type { BroadcastGeometry } from './geometry.js'
import {
  ACTIVE,
  DEMOTED,
  FREE,
  GATE_BYTES,
  GATE_CURSOR_OFFSET,
  GATE_OWNER_OFFSET,
  GATES_OFFSET,
  gateWord,
  JOINING,
  peerOfGate,
  stateOfGate,
} from './layout.js'
import { distanceOf, ERA_BYTES, SharedPosition } from './position.js'

/** A gate that a subscriber has, or had. */
export interface GateDescription {
  /** Its number in the ring. */
  readonly gate: number
  /**
   * `joining`: its subscriber is about to take it, and holds back nobody. `active`: the publisher overwrites nothing that its
   * subscriber has not read. `demoted`: no longer; its subscriber reads on as one without a gate.
   */
  readonly state: 'joining' | 'active' | 'demoted'
  readonly peer: PeerId
  /** The process and thread of its subscriber; undefined if the table of peers lists it no longer. */
  readonly owner: PeerDescription | undefined
  /** How many bytes its subscriber is known to be behind the publisher; 0 unless it is active. It tells so every quarter of the ring. */
  readonly behindBytes: number
}

const STATE_NAMES = { [JOINING]: 'joining', [ACTIVE]: 'active', [DEMOTED]: 'demoted' } as const

/** So often a cursor may be found while its gate's next owner replaces it, and a newcomer may be left behind by more than an era. */
const TRIES_MAX = 1000

/** The gates of a ring, as one attachment uses them. See layout.ts. */
export class Gates {
  readonly #geometry: BroadcastGeometry
  readonly #words: Int32Array
  readonly #space: EventCount
  readonly #cursors: SharedPosition[]

  /**
   * @param words the words of the region: those that the handle uses for everything else
   * @param space where the publisher waits
   */
  constructor(geometry: BroadcastGeometry, words: Int32Array, space: EventCount) {
    this.#geometry = geometry
    this.#words = words
    this.#space = space
    this.#cursors = Array.from({ length: geometry.gates }, (_, gate) => this.#cursorOf(gate))
  }

  /**
   * For a subscriber: takes a gate that is free (steps J1 to J4).
   * @param writePosition is read, and is where the subscriber begins: nothing from there on will be overwritten unread
   * @returns undefined if no gate is free
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT`; then no gate is taken
   */
  join(writePosition: SharedPosition): Gate | undefined {
    // A gate that is taken, and whose subscriber does not know, would hold the publisher back.
    assertStackRoom()
    const { self } = this.#geometry.region.peers
    const joining = gateWord(JOINING, self)
    const active = gateWord(ACTIVE, self)
    for (let index = 0; index < this.#geometry.gates; index++) {
      const word = this.#wordOf(index)
      const gate = new Gate(this, index, this.#cursorOf(index), this.#words, word, active)
      writePosition.read()
      // J1
      if (Atomics.compareExchange(this.#words, word, FREE, joining) !== FREE) continue
      try {
        for (let tries = 0; tries < TRIES_MAX; tries++) {
          gate.begin(writePosition)
          // SYNC gate visible to publisher: from here on, it is held back
          Atomics.compareExchange(this.#words, word, joining, active) // J2
          writePosition.read() // J3
          if (gate.tryMoveUp(writePosition)) {
            // J4. The publisher may have found the old cursor, and wait.
            this.#space.notify()
            return gate
          }
          // Stopped while more than a GiB went by: the cursor cannot move so far at once, so it begins anew, unless it was demoted.
          if (Atomics.compareExchange(this.#words, word, active, joining) !== active) return gate
        }
        throw this.#corrupt(index, active)
      } catch (error) {
        gate.leave()
        throw error
      }
    }
    return undefined
  }

  /**
   * For the publisher, which has published up to this position: how far the last one of the ACTIVE gates is behind it.
   * @throws IsthmusError `ERR_ISTHMUS_CORRUPT` if a cursor is garbled, or ahead of the position
   */
  furthestBehind(low: number, era: number): number {
    let furthest = 0
    for (let gate = 0; gate < this.#cursors.length; gate++) {
      const behind = this.#behind(gate, low, era)
      if (behind > furthest) furthest = behind
    }
    return furthest
  }

  /** An ACTIVE gate of this very thread that is more than `bytesMax` behind this position; undefined if there is none. */
  ownBehind(low: number, era: number, bytesMax: number): number | undefined {
    const { peers } = this.#geometry.region
    for (let gate = 0; gate < this.#cursors.length; gate++) {
      const owner = this.#ownerOf(gate)
      const isOwn = stateOfGate(owner) === ACTIVE && peers.isOwnThread(peerOfGate(owner))
      if (isOwn && this.#behind(gate, low, era) > bytesMax) return gate
    }
    return undefined
  }

  /** The peers that hold the publisher back, or could: dead or alive. */
  owners(): PeerId[] {
    const owners: PeerId[] = []
    for (let gate = 0; gate < this.#geometry.gates; gate++) {
      const owner = this.#ownerOf(gate)
      if (stateOfGate(owner) === ACTIVE) owners.push(peerOfGate(owner))
    }
    return owners
  }

  /** Frees the gates of peers that are proven dead. */
  reapDead(): void {
    for (let gate = 0; gate < this.#geometry.gates; gate++) {
      const owner = this.#ownerOf(gate)
      if (owner !== FREE && this.#geometry.region.peers.isDead(peerOfGate(owner))) this.free(gate, owner)
    }
  }

  sweep(deadPeer: PeerId): void {
    for (let gate = 0; gate < this.#geometry.gates; gate++) {
      const owner = this.#ownerOf(gate)
      if (owner !== FREE && peerOfGate(owner) === deadPeer) this.free(gate, owner)
    }
  }

  /** Makes the subscriber of an active gate a lossy one; returns whether it was still as described. */
  demote({ gate, peer }: Pick<GateDescription, 'gate' | 'peer'>): boolean {
    if (!(gate >= 0 && gate < this.#geometry.gates)) return false
    const word = this.#wordOf(gate)
    // SYNC gate given up: its subscriber validates what it copies by the intent
    const found = Atomics.compareExchange(this.#words, word, gateWord(ACTIVE, peer), gateWord(DEMOTED, peer))
    if (found !== gateWord(ACTIVE, peer)) return false
    this.#space.notify()
    return true
  }

  /** The gates that are not free, for tools. The position is where the publisher is. */
  describe({ low, era }: SharedPosition): GateDescription[] {
    const { peers } = this.#geometry.region
    const found: GateDescription[] = []
    for (let gate = 0; gate < this.#geometry.gates; gate++) {
      const owner = this.#ownerOf(gate)
      const state = stateOfGate(owner)
      if (state === FREE) continue
      const peer = peerOfGate(owner)
      const isListed = peers.at(slotOf(peer)) === peer
      const cursor = this.#cursors[gate]
      const isBehind = state === ACTIVE && cursor.tryRead()
      found.push({
        gate,
        state: STATE_NAMES[state],
        peer,
        owner: isListed ? peers.describe(peer) : undefined,
        behindBytes: isBehind ? Math.max(0, distanceOf(low, era, cursor.low, cursor.era)) : 0,
      })
    }
    return found
  }

  /** By CAS from the exact word: another agent may have done it, and the gate may have its next owner. */
  free(gate: number, owner: number): void {
    // SYNC gate given up: its subscriber validates what it copies by the intent
    if (Atomics.compareExchange(this.#words, this.#wordOf(gate), owner, FREE) === owner) this.#space.notify()
  }

  /** 0 for a gate that holds back nobody. */
  #behind(gate: number, low: number, era: number): number {
    const cursor = this.#cursors[gate]
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const owner = this.#ownerOf(gate)
      if (stateOfGate(owner) !== ACTIVE) return 0
      // The gate may have its next owner, which is replacing the cursor. Once that is done, its cursor is as good.
      if (!cursor.tryRead()) continue
      const behind = distanceOf(low, era, cursor.low, cursor.era)
      if (behind < 0) break
      return behind
    }
    throw this.#corrupt(gate, this.#ownerOf(gate))
  }

  #corrupt(gate: number, owner: number): Error {
    const { subject, region } = this.#geometry
    const { pid, threadId } = region.peers.describe(peerOfGate(owner))
    return corruptError(
      subject,
      `the cursor of gate ${gate}, of process ${pid}, thread ${threadId}, is no position up to which it can have read`,
    )
  }

  #ownerOf(gate: number): number {
    // SYNC gate visible to publisher: from here on, it is held back
    // SYNC gate given up: its subscriber validates what it copies by the intent
    return Atomics.load(this.#words, this.#wordOf(gate))
  }

  #wordOf(gate: number): number {
    return (this.#geometry.byteOffset + GATES_OFFSET + gate * GATE_BYTES + GATE_OWNER_OFFSET) >>> 2
  }

  #cursorOf(gate: number): SharedPosition {
    const { byteOffset, subject } = this.#geometry
    const cursorByteOffset = byteOffset + GATES_OFFSET + gate * GATE_BYTES + GATE_CURSOR_OFFSET
    return new SharedPosition(this.#words, cursorByteOffset, subject, `cursor of gate ${gate}`)
  }
}

/** A gate, as its subscriber uses it. */
export class Gate {
  /** Its number in the ring. */
  readonly index: number
  readonly #gates: Gates
  readonly #cursor: SharedPosition
  readonly #words: Int32Array
  readonly #word: number
  readonly #active: number

  /** @internal Use `Gates.join`. */
  constructor(gates: Gates, index: number, cursor: SharedPosition, words: Int32Array, word: number, active: number) {
    this.#gates = gates
    this.index = index
    this.#cursor = cursor
    this.#words = words
    this.#word = word
    this.#active = active
  }

  /** Whether it holds the publisher back: what was copied before this is right. Otherwise it was demoted. Costs one load. */
  get isActive(): boolean {
    // SYNC gate given up: its subscriber validates what it copies by the intent
    return Atomics.load(this.#words, this.#word) === this.#active
  }

  /** @internal For Gates, before the gate is active. */
  begin({ low, era }: SharedPosition): void {
    this.#cursor.replace(low, era)
  }

  /**
   * @internal For Gates: the publisher reads the cursor already, and has to find a position at every moment. Returns false if this
   * one lies too far ahead for that.
   */
  tryMoveUp({ low, era }: SharedPosition): boolean {
    const cursor = this.#cursor
    if (distanceOf(low, era, cursor.low, cursor.era) > ERA_BYTES) return false
    cursor.moveTo(low)
    return true
  }

  /** Gives up the space before this position, at most a ring ahead of the last one. The caller then notifies the publisher. */
  moveCursor(low: number): void {
    this.#cursor.moveTo(low)
  }

  /** Gives the gate back, in whatever state, unless another agent has taken it away. */
  leave(): void {
    const owner = Atomics.load(this.#words, this.#word)
    if (peerOfGate(owner) === peerOfGate(this.#active)) this.#gates.free(this.index, owner)
  }
}
