import type { HeapRegion, HeapRegionHandle, PeerId } from '@isthmus/sync'
import { type Control, CRASHED_AGENT, PEER, RESULT_BYTES } from '../control.js'
import { AWAIT_CRASH, END } from '../operation.js'
import type { AgentEnd, AgentProgram, AgentTools, Scenario } from '../scenario.js'
import type { AgentLoop } from './agent-loop.js'
import { Halt } from './halt.js'
import type { Turn } from './turn.js'

/** What the runner needs of the packages, which are imported after the globals are replaced. */
interface Packages {
  readonly HeapRegion: typeof import('@isthmus/sync').HeapRegion
  readonly heldSpace: typeof import('@isthmus/sync/internal').heldSpace
  readonly pendingWaits: typeof import('@isthmus/sync/internal').pendingWaits
  readonly TurnQueue: typeof import('@isthmus/sync/internal').TurnQueue
}

/** Runs the program of one agent, once for each schedule. */
export class AgentRunner {
  readonly #control: Control
  readonly #self: number
  readonly #turn: Turn
  readonly #loop: AgentLoop
  readonly #packages: Packages
  readonly #scenario: Scenario
  readonly #program: AgentProgram<unknown>
  readonly #tools: AgentTools<unknown>
  /** The attachments that the program has made in this schedule. */
  #regions: HeapRegion<unknown>[] = []
  /** Whether the program has returned a promise, and so used its event loop. */
  #hasUsedLoop = false

  constructor(
    control: Control,
    self: number,
    turn: Turn,
    loop: AgentLoop,
    scenario: Scenario,
    handle: HeapRegionHandle,
    packages: Packages,
  ) {
    this.#control = control
    this.#self = self
    this.#turn = turn
    this.#loop = loop
    this.#packages = packages
    this.#scenario = scenario
    this.#program = Object.values(scenario.agents)[self]
    const { words } = control
    this.#tools = {
      handle,
      layout: scenario.layout,
      attach: () => {
        const region = packages.HeapRegion.attach(handle, scenario.layout)
        this.#regions.push(region)
        words[control.agentAt(self) + PEER] = region.peers.self
        return region
      },
      awaitCrash() {
        turn.pass(AWAIT_CRASH)
        const crashed = words[CRASHED_AGENT]
        if (crashed < 0) return undefined
        const peer = words[control.agentAt(crashed) + PEER]
        return peer === 0 ? undefined : (peer as PeerId)
      },
      endSlices: () => turn.endSlices(),
    }
  }

  /** Never returns: the thread ends with its worker. */
  async run(): Promise<never> {
    for (;;) {
      if (this.#turn.begin()) {
        this.#tell(await this.#runOnce())
      }
      this.#turn.end()
    }
  }

  async #runOnce(): Promise<AgentEnd> {
    const end = await this.#takeSteps()
    try {
      await this.#clear()
    } catch (error) {
      return threw(error)
    }
    return end
  }

  async #takeSteps(): Promise<AgentEnd> {
    try {
      this.#loop.begin(this.#scenario.timersMax ?? 0)
      const prepared = this.#program.prepare(this.#tools)
      this.#turn.isStepping = true
      const end = await this.#runProgram(prepared)
      this.#turn.pass(END)
      return end
    } catch (error) {
      return error instanceof Halt ? { how: 'unfinished' } : threw(error)
    }
  }

  async #runProgram(prepared: unknown): Promise<AgentEnd> {
    try {
      const value = this.#program.run(prepared, this.#tools)
      this.#hasUsedLoop = value instanceof Promise
      return { how: 'returned', value: value instanceof Promise ? await this.#loop.run(value) : value }
    } catch (error) {
      if (error instanceof Halt) throw error
      return threw(error)
    }
  }

  /** Brings what the packages keep for this thread into its first state: held space, pending waits, timers, and the yield budget. */
  async #clear(): Promise<void> {
    const regions = this.#regions
    this.#regions = []
    // A consumer of an agent that has crashed must not return space in the next schedule, before a sleep of its successor.
    this.#packages.heldSpace.forgetAll()
    if (!this.#hasUsedLoop) return
    this.#turn.isStepping = false
    for (const region of regions) this.#packages.pendingWaits.endWaitsOf(region)
    const isReset = new this.#packages.TurnQueue().yieldNow()
    await this.#loop.clear()
    await isReset
  }

  #tell(end: AgentEnd): void {
    this.#control.writeText(this.#self, this.#control.agentAt(this.#self) + RESULT_BYTES, JSON.stringify(end))
  }
}

function threw(error: unknown): AgentEnd {
  const {
    code = '',
    message = String(error),
    stack = '',
  } = error as { code?: string; message?: string; stack?: string }
  return { how: 'threw', code, message, stack }
}
