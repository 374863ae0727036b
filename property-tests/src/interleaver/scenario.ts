import type { HeapRegion, HeapRegionHandle, Layout, PeerId } from '@isthmus/sync'

/** What an agent's program gets beside the memory. */
export interface AgentTools<T> {
  readonly handle: HeapRegionHandle
  readonly layout: Layout<T>
  /** Attaches to the region. In `prepare` that is not part of the schedule; in `run`, each of its operations is a step. */
  attach(): HeapRegion<T>
  /** Waits until an agent has crashed, and returns its peer; undefined if none has, and none can any more. */
  awaitCrash(): PeerId | undefined
  /**
   * Time passes: the slice of each present sleep ends, and for each agent that is awake, the slice of its next one. To be
   * called once a death is declared: only fallback polling finds a wake-up that the dead agent owed.
   */
  endSlices(): void
}

/**
 * One agent of a scenario. `prepare` runs before the schedule begins, one agent after the other, and every operation of
 * `run` is a step. The result of `run`, as plain data, is given to the scenario's `check`. If `run` returns a promise, the
 * agent takes turns of its own event loop until the promise settles (see agent/agent-loop.ts).
 */
export interface AgentProgram<T> {
  prepare(tools: AgentTools<T>): unknown
  // biome-ignore lint/suspicious/noExplicitAny: what prepare returned; `agent` below ties the two types together.
  run(prepared: any, tools: AgentTools<T>): unknown
}

/** Ties the layout to what `prepare` attaches, and what that returns to what `run` takes. */
export function agent<T, P>(
  _layout: Layout<T>,
  program: { prepare(tools: AgentTools<T>): P; run(prepared: P, tools: AgentTools<T>): unknown },
): AgentProgram<T> {
  return program
}

/** How an agent's program ended. */
export type AgentEnd =
  | { readonly how: 'returned'; readonly value: unknown }
  | { readonly how: 'threw'; readonly code: string; readonly message: string; readonly stack: string }
  | { readonly how: 'crashed' }
  | { readonly how: 'unfinished' }

/** How a schedule ended, for `check`. */
export interface Ending {
  /** By the names of the agents. An agent that throws fails the schedule before `check` is called. */
  readonly agents: Readonly<Record<string, AgentEnd>>
  /** The result of the agent; undefined if it has crashed. */
  returned(agent: string): unknown
  readonly crashed: string | undefined
  readonly region: RegionWords
}

/** The region's memory, for invariants and checks. */
export interface RegionWords {
  readonly words: Int32Array
  readonly rootByteOffset: number
}

/** The step that has just been taken, for invariants that say what a step may do. */
export interface Step {
  /** The agent's last attachment; 0 if it has made none. */
  readonly peer: PeerId | 0
  /** See operation.ts. */
  readonly kind: number
  /** Index in the region's words; -1 for a step that is not about a word. */
  readonly word: number
  readonly expected: number
  /** What the operation returned: the word before it, if it changes the word. */
  readonly result: number
}

/** A name for a word of the root, and how to show its values. */
export interface WordName {
  readonly byteOffset: number
  readonly name: string
  show?(value: number): string
}

/** Peer slots that a scenario may use: one for the creator, one for each agent, and some for second attachments. */
export const MAX_SLOTS = 8
/** The slots of the creator and of three agents. A structure with a word for each slot has named words for these. */
export const AGENT_SLOTS = 4

/** A small case, of which all schedules are run. */
export interface Scenario<T = unknown> {
  readonly name: string
  /** What each agent does and what must hold, in a sentence or two. */
  readonly about: string
  readonly layout: Layout<T>
  /** The words of the layout, from the start of the root on. */
  readonly wordNames: readonly WordName[]
  /** From here to its end, the bytes of the root are only accessed plainly: a data race there fails the schedule. */
  readonly plainFromByteOffset?: number
  /** Bytes behind that one which are no plain ones: each access to them is a step. */
  readonly stepBytes?: readonly (readonly [from: number, to: number])[]
  /**
   * From here to its end, the root has bytes that agents read while another one may write them: each access to them is a step, and
   * a call that copies takes a step for each word.
   */
  readonly racedFromByteOffset?: number
  /** Bytes of the root that agents read and none writes, such as the words of unused slots: reading them is no step. */
  readonly quietBytes?: readonly (readonly [from: number, to: number])[]
  /** Changes the memory before the agents attach. */
  setUp?(region: RegionWords): void
  readonly agents: Readonly<Record<string, AgentProgram<T>>>
  /** One of these agents may crash, at any of its operations. */
  readonly mayCrash?: readonly string[]
  /** Whether a wait with a timeout may end by it. All other waits end by a notify only. */
  readonly hasTimeouts?: boolean
  /** How many timers of an event loop, such as its ticks, may go off in one schedule while it sleeps; none if not given. */
  readonly timersMax?: number
  /** How long each of its searches may take with `--brief`, if it is one of many that have too many schedules to run them all. */
  readonly briefSeconds?: number
  /** Called after every step; says what is wrong. */
  invariant?(region: RegionWords, step: Step): string | undefined
  /** Called at the end of every schedule; says what is wrong. */
  check(ending: Ending): string | undefined
}

export function scenario<T>(definition: Scenario<T>): Scenario<T> {
  return definition
}
