import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { HeapRegion, type HeapRegionHandle } from '@isthmus/sync'
import { MAX_PEERS } from '@isthmus/sync/internal'
import { PEERS_BYTE_OFFSET } from '../../../packages/sync/src/attachment/header.js'
import { PEER_SLOT_BYTES } from '../../../packages/sync/src/peers/layout.js'
import {
  AGENT_COUNT,
  AT_RANDOM,
  CAN_TIME_OUT,
  Control,
  CRASHABLE,
  CRASHED_AGENT,
  CRASHES_LEFT,
  GATHERING,
  GO_ON,
  HAS_TIMEOUTS,
  IDLE,
  IS_LENIENT,
  LAST_AGENT,
  LISTENER_WORD,
  MUST_CRASH,
  NOTES,
  OUTCOME,
  PARK_COUNT,
  PEER,
  PHASE,
  PLAN_CURSOR,
  PLAN_LENGTH,
  POLICY,
  QUEUE_TICKET,
  RANDOM_STATE,
  RESULT_BYTES,
  SLEEP_SET,
  SLICE_DUE,
  STARTING,
  STATUS,
  STEPS,
  TURN,
  VIOLATION_BYTES,
} from './control.js'
import { Execution } from './execution.js'
import { MAX_SLOTS, type RegionWords, type Scenario } from './scenario.js'

/** The workerData of an agent. */
export interface AgentTask {
  readonly control: SharedArrayBuffer
  readonly handle: HeapRegionHandle
  readonly scenarioName: string
  readonly agent: number
  readonly rootByteOffset: number
  /** 1 for each word of the region that is only accessed plainly. */
  readonly plainWords: Uint8Array
  readonly ready: MessagePort
}

/** How to run one schedule. */
export interface Plan {
  readonly choices: readonly number[]
  /** Agents that sleep once the planned choices are made; see exploration/reduced-search.ts. */
  readonly asleep?: number
  /** The seed of random choices after the planned ones. */
  readonly seed?: number
  /** Skip choices that are not possible. */
  readonly isLenient?: boolean
}

const ROOT_OFFSET_WORD = 12

/** The agents of one scenario, each in a thread of its own, and the memory that they share. Runs one schedule after the other. */
export class Crew {
  readonly scenario: Scenario
  readonly agentNames: readonly string[]
  readonly region: RegionWords
  readonly #control: Control
  readonly #initial: Int32Array
  readonly #workers: readonly Worker[]
  /** How many schedules were run. */
  schedules = 0

  static async gather(scenario: Scenario): Promise<Crew> {
    const region = HeapRegion.create(scenario.layout)
    const rootByteOffset = region.words[ROOT_OFFSET_WORD]
    scenario.setUp?.({ words: region.words, rootByteOffset })
    const control = new Control()
    const plainWords = plainWordsOf(scenario, { words: region.words, rootByteOffset })
    control.quiet = [
      [PEERS_BYTE_OFFSET + MAX_SLOTS * PEER_SLOT_BYTES, PEERS_BYTE_OFFSET + MAX_PEERS * PEER_SLOT_BYTES] as const,
      ...(scenario.quietBytes ?? []).map(([from, to]) => [rootByteOffset + from, rootByteOffset + to] as const),
    ]
    const workers = await Promise.all(
      Object.keys(scenario.agents).map(async (_, agent) => {
        const { port1, port2 } = new MessageChannel()
        const task: AgentTask = {
          control: control.buffer,
          handle: region.handle,
          scenarioName: scenario.name,
          agent,
          rootByteOffset,
          plainWords,
          ready: port2,
        }
        const file = fileURLToPath(new URL('./interleaver-agent.js', import.meta.url))
        const worker = new Worker(file, { workerData: task, transferList: [port2] })
        const failure = once(worker, 'exit').then(() => Promise.reject(new Error(`Agent ${agent} did not start`)))
        await Promise.race([once(port1, 'message'), failure])
        failure.catch(() => undefined)
        port1.close()
        return worker
      }),
    )
    return new Crew(scenario, { words: region.words, rootByteOffset }, control, workers)
  }

  private constructor(scenario: Scenario, region: RegionWords, control: Control, workers: readonly Worker[]) {
    this.scenario = scenario
    this.agentNames = Object.keys(scenario.agents)
    this.region = region
    this.#control = control
    this.#initial = region.words.slice()
    this.#workers = workers
  }

  /** The agents that may crash, as a mask. */
  get crashable(): number {
    const { mayCrash = [] } = this.scenario
    return this.agentNames.reduce((mask, name, agent) => (mayCrash.includes(name) ? mask | (1 << agent) : mask), 0)
  }

  /** Runs one schedule. The execution shows the control's memory: it is good until the next one. */
  run(plan: Plan): Execution {
    this.#reset(plan)
    const { words } = this.#control
    const firstTurn = this.#control.agentAt(0) + TURN
    Atomics.store(words, firstTurn, 1)
    Atomics.notify(words, firstTurn)
    const count = this.agentNames.length
    for (let idle = Atomics.load(words, IDLE); idle !== count; idle = Atomics.load(words, IDLE)) {
      if (Atomics.wait(words, IDLE, idle, 20_000) === 'timed-out') {
        throw new Error(`${this.scenario.name}: an agent does not come to its next operation`)
      }
    }
    this.schedules++
    return new Execution(this.#control, this.scenario, this.region)
  }

  async dismiss(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #reset({ choices, asleep = 0, seed, isLenient = false }: Plan): void {
    this.region.words.set(this.#initial)
    const { words } = this.#control
    for (const at of [IDLE, OUTCOME, PLAN_CURSOR, STEPS, NOTES, QUEUE_TICKET, VIOLATION_BYTES]) words[at] = 0
    words[PHASE] = GATHERING
    words[AGENT_COUNT] = this.agentNames.length
    words[PLAN_LENGTH] = choices.length
    words[IS_LENIENT] = isLenient ? 1 : 0
    words[LAST_AGENT] = 0
    words[SLEEP_SET] = asleep
    words[CRASHABLE] = this.crashable
    words[CRASHES_LEFT] = this.crashable === 0 ? 0 : 1
    words[CRASHED_AGENT] = -1
    words[HAS_TIMEOUTS] = this.scenario.hasTimeouts === true ? 1 : 0
    words[POLICY] = seed === undefined ? GO_ON : AT_RANDOM
    words[RANDOM_STATE] = seed ?? 0
    for (let at = 0; at < choices.length; at++) words[this.#control.planAt(at)] = choices[at]
    for (let agent = 0; agent < this.agentNames.length; agent++) {
      const at = this.#control.agentAt(agent)
      for (const field of [CAN_TIME_OUT, MUST_CRASH, PEER, RESULT_BYTES, PARK_COUNT, SLICE_DUE]) words[at + field] = 0
      words[at + LISTENER_WORD] = -1
      words[at + STATUS] = STARTING
    }
  }
}

function plainWordsOf(scenario: Scenario, { words, rootByteOffset }: RegionWords): Uint8Array {
  const plain = new Uint8Array(words.length)
  if (scenario.racedFromByteOffset !== undefined) plain.fill(2, (rootByteOffset + scenario.racedFromByteOffset) >>> 2)
  if (scenario.plainFromByteOffset === undefined) return plain
  plain.fill(1, (rootByteOffset + scenario.plainFromByteOffset) >>> 2)
  for (const [from, to] of scenario.stepBytes ?? []) {
    plain.fill(0, (rootByteOffset + from) >>> 2, (rootByteOffset + to) >>> 2)
  }
  return plain
}
