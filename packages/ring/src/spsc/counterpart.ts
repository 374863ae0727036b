import type { Region } from '@isthmus/sync'
import { epochOfRole, HELD, slotOfRole, stateOfRole } from '../role/layout.js'
import type { Role } from '../role/role.js'

/** An agent, as messages name it. */
export interface Agent {
  readonly pid: number
  readonly threadId: number
}

/**
 * Who has the other role of a ring: remembered beyond its death. When that is told, its peer slot may have been swept, and
 * be another agent's.
 */
export class Counterpart {
  readonly #region: Region
  readonly #role: Role
  #epoch = 0
  #agent: Agent | undefined

  constructor(region: Region, role: Role) {
    this.#region = region
    this.#role = role
    this.note(role.word)
  }

  /** Remembers who holds the role, once for each epoch. To be called with the role's word as it was just found. */
  note(word: number): void {
    if (stateOfRole(word) !== HELD || epochOfRole(word) === this.#epoch) return
    const { peers } = this.#region
    const holder = peers.at(slotOfRole(word))
    if (holder === undefined) return
    const { pid, threadId } = peers.describe(holder)
    // As long as the holder stands in the role, its slot has not been swept: what the slot says is about this holder.
    if (this.#role.word !== word) return
    this.#agent = { pid, threadId }
    this.#epoch = epochOfRole(word)
  }

  /** Who held the role in this epoch; undefined if we have not looked while it did. */
  in(epoch: number): Agent | undefined {
    return epoch === this.#epoch ? this.#agent : undefined
  }
}

/** For messages, behind `its producer` and the like. */
export function nameOf(agent: Agent | undefined): string {
  return agent === undefined
    ? ' (which process that was is no longer known)'
    : `, process ${agent.pid}, thread ${agent.threadId},`
}
