import { afterEach, describe, expect, it } from 'vitest'
import { endAllChildren, inChild } from '../support/child.js'

afterEach(endAllChildren)

describe('A thread that has its first segment', () => {
  it('makes no call of koffi that could fail while the thread is being terminated', async () => {
    const used = await inChild(async (kit) => {
      const koffi = kit.require('koffi')
      const used = new Set<string>()
      for (const [name, value] of Object.entries(koffi)) {
        if (typeof value !== 'function') continue
        koffi[name] = new Proxy(value, {
          apply(target, self, values) {
            used.add(name)
            return Reflect.apply(target, self, values)
          },
        })
      }
      const { Segment, struct, u32, bytes, mutex } = await kit.load()
      const layout = struct({ count: u32(), text: bytes(8), lock: mutex() })
      const use = async () => {
        const segment = Segment.createAnonymous(layout)
        const other = Segment.attach(segment.handle, layout)
        segment.root.text[0] = 1
        const guard = other.root.lock.lockSync()
        const waiting = segment.root.lock.lock()
        guard?.unlock()
        ;(await waiting)?.unlock()
        segment.close()
        other.close()
      }
      await use()
      const atFirst = [...used]
      used.clear()
      await use()
      return { atFirst, later: [...used].sort() }
    }, null)
    expect(used.atFirst).toContain('load')
    // These two take numbers and views, and return a number or a BigInt, without running JavaScript.
    expect(used.later.filter((name) => name !== 'address' && name !== 'errno')).toEqual([])
  })

  it('can be terminated at any time without ending the process', async () => {
    const terminated = await inChild(async (kit) => {
      const { Worker } = kit.require('node:worker_threads')
      // Attaches as fast as it can.
      const program = `
        import { parentPort } from 'node:worker_threads'
        import { bytes } from '@isthmus/sync'
        import { Segment } from '@isthmus/shm-posix'
        const layout = bytes(4096)
        for (let round = 0; ; round++) {
          const segment = Segment.createAnonymous(layout)
          segment.root[0] = round
          segment.close()
          if (round === 0) parentPort.postMessage('attached')
        }`
      let terminated = 0
      while (terminated < 6) {
        const worker = new Worker(program, { eval: true, execArgv: ['--input-type=module'] })
        await new Promise((resolve) => worker.once('message', resolve))
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
        await worker.terminate()
        terminated++
      }
      return terminated
    }, null)
    expect(terminated).toBe(6)
  })
})
