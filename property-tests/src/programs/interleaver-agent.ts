import { workerData } from 'node:worker_threads'
import { AgentLoop, ignoreHalts } from '../interleaver/agent/agent-loop.js'
import { AgentRunner } from '../interleaver/agent/agent-runner.js'
import { isolate } from '../interleaver/agent/isolation.js'
import { Turn } from '../interleaver/agent/turn.js'
import { Control } from '../interleaver/control.js'
import type { AgentTask } from '../interleaver/crew.js'
import type { Step } from '../interleaver/scenario.js'

/** The thread of one agent: it replaces the globals before it imports the packages. */

const { control: controlBuffer, handle, scenarioName, agent, rootByteOffset, plainWords, ready }: AgentTask = workerData
const control = new Control(controlBuffer)
const words = new Int32Array(handle.buffer)
let invariant = (_: Step): string | undefined => undefined
const turn = new Turn(control, agent, words, (step) => invariant(step))
const loop = new AgentLoop(turn)
ignoreHalts()
isolate(handle.buffer, plainWords, turn, loop)

const { HeapRegion } = await import('@isthmus/sync')
const { heldSpace, pendingWaits, TurnQueue } = await import('@isthmus/sync/internal')
const { scenarioNamed } = await import('../interleaver/scenarios/index.js')
const scenario = scenarioNamed(scenarioName)
const region = { words, rootByteOffset }
if (scenario.invariant !== undefined) invariant = (step) => scenario.invariant?.(region, step)
ready.postMessage('ready')
const packages = { HeapRegion, heldSpace, pendingWaits, TurnQueue }
await new AgentRunner(control, agent, turn, loop, scenario, handle, packages).run()
