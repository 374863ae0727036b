import type { HeapRegion, HeapRegionHandle, PeerId } from '@isthmus/sync'
import { type Control, CRASHED_AGENT, PEER, RESULT_BYTES } from '../control.js'
import { AWAIT_CRASH, END } from '../operation.js'
import type { AgentEnd, AgentProgram, AgentTools, Scenario } from '../scenario.js'
import { Halt } from './halt.js'
import type { Turn } from './turn.js'

type Attach = (handle: HeapRegionHandle, layout: Scenario['layout']) => HeapRegion<unknown>

/** Runs the program of one agent, once for each schedule. */
export class AgentRunner {
  readonly #control: Control
  readonly #self: number
  readonly #turn: Turn
  readonly #program: AgentProgram<unknown>
  readonly #tools: AgentTools<unknown>

  constructor(
    control: Control,
    self: number,
    turn: Turn,
    scenario: Scenario,
    handle: HeapRegionHandle,
    attach: Attach,
  ) {
    this.#control = control
    this.#self = self
    this.#turn = turn
    this.#program = Object.values(scenario.agents)[self]
    const { words } = control
    this.#tools = {
      handle,
      layout: scenario.layout,
      attach() {
        const region = attach(handle, scenario.layout)
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
      awaitRing: (word) => turn.awaitRing(word),
    }
  }

  /** Never returns: the thread ends with its worker. */
  run(): never {
    for (;;) {
      if (this.#turn.begin()) this.#tell(this.#runOnce())
      this.#turn.end()
    }
  }

  #runOnce(): AgentEnd {
    try {
      const prepared = this.#program.prepare(this.#tools)
      this.#turn.isStepping = true
      const end = this.#runProgram(prepared)
      this.#turn.pass(END)
      return end
    } catch (error) {
      return error instanceof Halt ? { how: 'unfinished' } : threw(error)
    }
  }

  #runProgram(prepared: unknown): AgentEnd {
    try {
      return { how: 'returned', value: this.#program.run(prepared, this.#tools) }
    } catch (error) {
      if (error instanceof Halt) throw error
      return threw(error)
    }
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
