import { closeSync, constants, openSync } from 'node:fs'
import { statDescriptor } from '../native/descriptor-stat.js'
import { libc } from '../native/libc.js'
import { EAGAIN } from '../native/system-error.js'
import { fifoPath } from './fifo.js'

const FLAGS = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW
const ROPES_MAX = 32
const ring = new Uint8Array(1)

/** The end of a bell FIFO that is written to. */
interface Rope {
  readonly fd: number
  /** Whose bell it is. */
  readonly uid: number
}

/**
 * The bells of others, as far as this thread has rung them lately. Never an error: what is to be told with a ring has
 * happened already, and who is not rung looks by itself in a while.
 */
export class BellRopes {
  /** The one that was used last stands last. */
  readonly #ropes = new Map<string, Rope>()
  #last: string | undefined

  /** Returns false where nobody hears it, or where the bell is of a user that may not be trusted with it. */
  ring(thread: string, isTrusted: (uid: number) => boolean): boolean {
    const rope = this.#ropes.get(thread) ?? this.#take(thread)
    if (rope === undefined || !isTrusted(rope.uid)) return false
    if (thread !== this.#last) {
      this.#ropes.delete(thread)
      this.#ropes.set(thread, rope)
      this.#last = thread
    }
    const c = libc()
    // Not fs.writeSync: it makes an error of a full FIFO, which costs twenty times the ring.
    if (Number(c.write(rope.fd, ring, 1)) === 1) return true
    // Full of rings that its thread has not heard yet.
    if (c.errno() === EAGAIN) return true
    this.letGo(thread)
    return false
  }

  letGo(thread: string): void {
    const rope = this.#ropes.get(thread)
    if (rope === undefined) return
    this.#ropes.delete(thread)
    if (this.#last === thread) this.#last = undefined
    closeSync(rope.fd)
  }

  close(): void {
    for (const thread of [...this.#ropes.keys()]) this.letGo(thread)
  }

  #take(thread: string): Rope | undefined {
    let fd: number
    try {
      // Of Node.js, which closes it when this thread is terminated.
      fd = openSync(fifoPath(thread, 'bell'), FLAGS)
    } catch {
      // No such bell, nobody behind it, no permission, no descriptor left: in any case nobody hears it.
      return undefined
    }
    const stat = statDescriptor(fd)
    if (!stat.isFIFO()) {
      closeSync(fd)
      return undefined
    }
    if (this.#ropes.size === ROPES_MAX) {
      const [oldest] = this.#ropes.keys()
      this.letGo(oldest)
    }
    const rope = { fd, uid: Number(stat.uid) }
    this.#ropes.set(thread, rope)
    return rope
  }
}
