import { mpmcQueue } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { serve } from '../harness/serve.js'

/** An agent that sends or receives large messages through a queue, until it is killed or stopped. */

export interface PipeTask {
  readonly name: string
  readonly options: Parameters<typeof mpmcQueue>[0]
  readonly byteLength: number
  readonly count: number
}

const open = ({ name, options }: PipeTask) => Segment.open(name, mpmcQueue(options)).root

serve({
  sendBlocking(task: PipeTask): number {
    const sender = open(task).sender()
    for (let at = 0; at < task.count; at++) sender.sendSync(largeMessage(task.byteLength, at))
    return task.count
  },

  async send(task: PipeTask): Promise<number> {
    const sender = open(task).sender()
    for (let at = 0; at < task.count; at++) await sender.send(largeMessage(task.byteLength, at))
    return task.count
  },

  receiveBlocking(task: PipeTask): number {
    const receiver = open(task).receiver()
    for (let at = 0; at < task.count; at++) receiver.receiveSync()
    receiver.acknowledge()
    return task.count
  },

  /** Receives a few chunks, and then does nothing. */
  async receiveChunks(task: PipeTask): Promise<number> {
    const receiver = open(task).receiver()
    for (let at = 0; at < task.count; at++) await receiver.receiveChunk()
    return task.count
  },

  /** Receives a message, and does not acknowledge it. */
  async receive(task: PipeTask): Promise<number> {
    const receiver = open(task).receiver()
    return (await receiver.receive())?.byteLength ?? 0
  },
})

function largeMessage(byteLength: number, number: number): Uint8Array {
  const bytes = new Uint8Array(byteLength)
  for (let at = 0; at < byteLength; at++) bytes[at] = at * 31 + number
  return bytes
}
