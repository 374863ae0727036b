import type { MessagePort } from 'node:worker_threads'
import type { Pace } from './contest.js'
import type { Place } from './place.js'

/** The two sides of a run. The first one is open before the second one opens; a run with one side has the first. */
export type Role = 'first' | 'second'

/** How many sides of each role a run has, if they are many: the first ones send, the second ones receive. */
export type Crowd = Readonly<Record<Role, number>>

/**
 * How the sides of a run live: as processes that know nothing of each other, as threads of one process, as parent (first)
 * and child (second) with Node.js' own channel or two pipes between them, or as one process alone. All sides of a crowd are
 * processes, or threads of one, or children of one, which passes the messages on.
 */
export type Arrangement = 'processes' | 'threads' | 'json channel' | 'advanced channel' | 'pipes' | 'alone'

/** What has to be done. */
export interface Task {
  readonly scenario: string
  readonly work: string
  readonly subject: string
  readonly arrangement: Arrangement
  /** The second side ends by SIGKILL, and reports nothing. */
  readonly isSecondKilled?: boolean
  /** One side of each role if not given. */
  readonly crowd?: Crowd
}

/** What one side of a run is told. */
export interface Assignment extends Task {
  readonly role: Role
  /** Its number among the sides of its role, from 0. */
  readonly index: number
  /** Starts all sides of its crowd, as threads or as children, and takes no part itself. */
  readonly isHost?: boolean
  readonly place: Place
  readonly pace: Pace
}

/** One end of a channel of child_process: `process` in the child, a ChildProcess in its parent. */
export interface ChannelEnd {
  readonly connected: boolean
  send?(message: unknown, callback: (error: Error | null) => void): boolean
  disconnect?(): void
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

export interface PipeEnds {
  readonly readFd: number
  readonly writeFd: number
}

/** What connects the two sides from the start, in their arrangement. */
export interface Line {
  readonly port?: MessagePort
  /** In a crowd of threads: one to each side of the other role. */
  readonly ports?: readonly MessagePort[]
  readonly channel?: ChannelEnd
  readonly pipes?: PipeEnds
}

/** What a side reports, as JSON carries it. */
export type Reports<R> = Readonly<Record<Role, R>>

/** What the sides of a crowd report, by their numbers. */
export type CrowdReports<R> = Readonly<Record<Role, readonly R[]>>

/** Both sides, or all sides of a crowd. */
export function sidesOf(crowd: Crowd = { first: 1, second: 1 }): number {
  return crowd.first + crowd.second
}
