import { afterEach, describe, expect, it } from 'vitest'
import { endAllChildren, inChild } from '../support/child.js'
import { removeEverything } from '../support/names.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

/**
 * Node.js closes what a worker has opened with fs.openSync when the worker ends, unless it was closed with fs.closeSync.
 * A net.Socket closes its descriptor itself, which that list does not notice. So such a descriptor is closed twice, and
 * the second time its number may belong to another thread: to the locks that prove that it lives, say. Descriptors for
 * sockets therefore come from libc's open. (In a process of its own, since it loses descriptors that are not its own.)
 */
describe('The descriptors of a worker', () => {
  it.each(['closes its segment', 'is terminated', 'closes its segment, then is terminated'])(
    'are closed once, so that no other thread loses one, if the worker %s',
    async (way) => {
      const lost = await inChild(async (kit, way) => {
        const { Worker } = kit.require('node:worker_threads') as typeof import('node:worker_threads')
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const base = Segment.createAnonymous(layout)
        const program = `
            const { parentPort, workerData } = require('node:worker_threads')
            Promise.all([import('@isthmus/shm-posix'), import('@isthmus/sync')]).then(([{ Segment }, { struct, u32 }]) => {
              const segment = Segment.attach(workerData.handle, struct({ count: u32() }))
              segment.waiter.listen()
              segment.waiter.watch(workerData.peer)
              if (workerData.way.startsWith('closes')) segment.close()
              parentPort.postMessage('done')
              if (workerData.way !== 'closes its segment') setInterval(() => {}, 1000)
            })`
        let lost = 0
        for (let turn = 0; turn < 15; turn++) {
          const workerData = { handle: base.handle, peer: base.peers.self, way }
          const worker = new Worker(program, { eval: true, execArgv: [], workerData })
          const exited = new Promise((resolve) => worker.once('exit', resolve))
          await new Promise((resolve) => worker.once('message', resolve))
          // They get the numbers that the worker has released.
          const segments = Array.from({ length: 8 }, () => Segment.createAnonymous(layout))
          const fds = segments.map(({ handle }) => Number(handle.path.split('/').at(-1)))
          const inodes = fds.map((fd) => kit.fs.fstatSync(fd).ino)
          if (way !== 'closes its segment') void worker.terminate()
          // And those that it releases while it ends.
          let isOver = false
          void exited.then(() => {
            isOver = true
          })
          while (!isOver) {
            const fd = kit.fs.openSync('/dev/null', 'r')
            await new Promise((resolve) => setImmediate(resolve))
            if (kit.failureOf(() => kit.fs.closeSync(fd)) !== undefined) lost++
          }
          fds.forEach((fd, at) => {
            if (kit.failureOf(() => kit.fs.fstatSync(fd)) || kit.fs.fstatSync(fd).ino !== inodes[at]) lost++
          })
          for (const segment of segments) if (kit.failureOf(() => segment.close())) lost++
        }
        base.close()
        return lost
      }, way)
      expect(lost).toBe(0)
    },
  )

  it('would be closed twice if they came from fs.openSync', async () => {
    const lost = await inChild(async (kit) => {
      const { Worker } = kit.require('node:worker_threads') as typeof import('node:worker_threads')
      const program = `
        const { parentPort } = require('node:worker_threads')
        const { execFileSync } = require('node:child_process')
        const fs = require('node:fs')
        const path = require('node:os').tmpdir() + '/isthmus-twice-' + process.pid
        execFileSync('mkfifo', [path])
        const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK)
        fs.unlinkSync(path)
        const socket = new (require('node:net').Socket)({ fd, readable: true, writable: false })
        socket.once('close', () => parentPort.postMessage(fd))
        socket.destroy()
        setInterval(() => {}, 1000)`
      const worker = new Worker(program, { eval: true, execArgv: [] })
      const closed = await new Promise((resolve) => worker.once('message', resolve))
      const fds = Array.from({ length: 8 }, () => kit.fs.openSync('/dev/null', 'r'))
      await worker.terminate()
      return {
        isReused: fds.includes(closed as number),
        lost: fds.filter((fd) => kit.failureOf(() => kit.fs.fstatSync(fd))).length,
      }
    }, null)
    expect(lost).toEqual({ isReused: true, lost: 1 })
  })
})
