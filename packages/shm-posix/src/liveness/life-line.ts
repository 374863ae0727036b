import { randomFillSync } from 'node:crypto'
import { closeSync, constants, openSync } from 'node:fs'
import type { LoopId } from '@isthmus/sync'
import { hasCode } from '../native/system-error.js'
import {
  type FifoAccess,
  fifoPath,
  grantAccess,
  holdFifo,
  makeFifo,
  threadNameOf,
  unlinkFifo,
} from '../waiting/fifo.js'

const FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW

/**
 * A thread's life FIFO: those who read it reach its end when the thread is gone, whatever ended it. The descriptor is one
 * of Node.js's own, which closes it with the thread.
 */
export class LifeLine {
  readonly loopId: LoopId
  readonly #fd: number
  readonly #path: string

  private constructor(loopId: LoopId, fd: number, path: string) {
    this.loopId = loopId
    this.#fd = fd
    this.#path = path
  }

  /** @throws SystemCallError where this thread may not make it */
  static begin(access: FifoAccess): LifeLine {
    for (;;) {
      // Never a name twice: who is about to remove the FIFO that had it before must not meet ours.
      const [low, high] = randomFillSync(new Int32Array(2))
      const thread = threadNameOf([low, high])
      if (thread === undefined) continue
      const path = fifoPath(thread, 'life')
      makeFifo(path)
      const fd = openHeld(path, access)
      if (fd !== undefined) return new LifeLine([low, high], fd, path)
    }
  }

  grant(access: FifoAccess): void {
    grantAccess(this.#fd, access)
  }

  /** Nobody finds it any more; those who found it go on watching. */
  unlink(): void {
    unlinkFifo(this.#path)
  }

  end(): void {
    try {
      this.unlink()
    } finally {
      closeSync(this.#fd)
    }
  }
}

/** Undefined where a pruner, who took it for a leftover, was quicker. */
function openHeld(path: string, access: FifoAccess): number | undefined {
  let fd: number | undefined
  let isHeld = false
  try {
    fd = openSync(path, FLAGS)
    if (!holdFifo(fd)) return undefined
    grantAccess(fd, access)
    isHeld = true
    return fd
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    unlinkFifo(path)
    throw error
  } finally {
    if (!isHeld && fd !== undefined) closeSync(fd)
  }
}
