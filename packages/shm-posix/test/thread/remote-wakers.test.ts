import { afterEach, describe, expect, it } from 'vitest'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'

afterEach(endAllChildren)

const FEW_DESCRIPTORS = { wrapper: [...withOwnSharedMemory('10m'), 'sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh'] }

describe('The descriptor in reserve', () => {
  it('is there again after each FIFO that could not be opened, and after each one that could', async () => {
    const seen = await inChild(
      async (kit) => {
        const { execFileSync } = kit.require('node:child_process') as typeof import('node:child_process')
        const { Segment, futex } = await kit.load()
        const segment = Segment.create('/reserve', futex())
        const table = segment.peers as unknown as {
          at(slot: number): number
          loopIdAt(slot: number): readonly number[]
          addressAt(slot: number): unknown
        }
        const own = table.addressAt(0)
        table.at = (slot) => 128 + slot
        table.loopIdAt = (slot) => [slot, 0x7e57]
        table.addressAt = () => own
        const fifoOf = (slot: number) => {
          return `/dev/shm/isthmus-${process.geteuid?.()}/00007e57${slot.toString(16).padStart(8, '0')}.wake`
        }
        const makeFifo = (slot: number) => execFileSync('mkfifo', [fifoOf(slot)])
        const wake = (slot: number) => segment.waiter.wakeLoop((128 + slot) as never)
        // Peer 1 has no FIFO, peer 2 has a regular file, and peer 3 does not read its FIFO.
        kit.fs.writeFileSync(fifoOf(2), '')
        makeFifo(3)
        for (let slot = 4; slot <= 10; slot++) {
          makeFifo(slot)
          kit.fs.openSync(fifoOf(slot), kit.fs.constants.O_RDONLY | kit.fs.constants.O_NONBLOCK)
        }
        const fill = () => {
          try {
            for (;;) kit.fs.openSync('/dev/null', 'r')
          } catch {
            // Full.
          }
        }
        fill()
        const afterFailures = [1, 2, 3].map((slot) => {
          const isWoken = wake(slot)
          fill()
          return [isWoken, wake(slot + 3)]
        })
        const oneAfterTheOther = [7, 8, 9, 10, 4].map(wake)
        return { afterFailures, oneAfterTheOther }
      },
      null,
      FEW_DESCRIPTORS,
    )
    expect(seen.afterFailures).toEqual([
      [false, true],
      [false, true],
      [false, true],
    ])
    expect(seen.oneAfterTheOther).toEqual([true, true, true, true, true])
  })
})
