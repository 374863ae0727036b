import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, constants, existsSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { PeerId } from '@isthmus/sync'
import { type PeerTable, slotOf } from '@isthmus/sync/internal'
import type { Segment } from '../../src/index.js'
import { holdFifo, threadNameOf } from '../../src/thread/fifo.js'
import { BESIDE, type FifoKind, MEMORY, pathAt } from '../../src/thread/fifo-place.js'
import { PeerEndpoint } from '../../src/thread/peer-endpoint.js'

const IN_MEMORY = { directory: '', isFile: false }
const address = { place: MEMORY, uid: process.geteuid?.() ?? 0 }

/** The name that the FIFOs of a peer's thread bear. */
export function threadOf(segment: Segment<unknown>, peer: PeerId = segment.peers.self): string {
  const name = threadNameOf((segment.peers as PeerTable).loopIdAt(slotOf(peer)))
  if (name === undefined) throw new Error(`Peer ${peer} has no loop id`)
  return name
}

/** The FIFO of a thread of this user, for its segments in memory. */
export function fifoPath(thread: string, kind: FifoKind): string {
  const path = pathAt(address, IN_MEMORY, thread, kind)
  if (path === undefined) throw new Error('This place has no path')
  return path
}

export function endpointOf(thread: string): PeerEndpoint {
  return new PeerEndpoint(thread, process.pid, address, IN_MEMORY)
}

/** The kinds of FIFOs that a thread has. */
export function fifosOf(thread: string): string[] {
  return (['alive', 'wake'] as const).filter((kind) => existsSync(fifoPath(thread, kind)))
}

/** A thread that does not exist, with FIFOs beside a segment file, where no other test finds or prunes them. */
export function endpointBeside(
  directory: string,
  thread = randomBytes(8).toString('hex'),
  uid = process.geteuid?.() ?? 0,
): PeerEndpoint {
  return new PeerEndpoint(thread, 0, { place: BESIDE, uid }, { directory, isFile: true })
}

/** A FIFO as its thread has it: made, opened for reading and writing, and locked. */
export class HeldFifo {
  static readonly #all = new Set<HeldFifo>()
  readonly path: string
  readonly #fd: number

  constructor(endpoint: PeerEndpoint, kind: FifoKind) {
    const path = endpoint.pathOf(kind)
    if (path === undefined) throw new Error('This place has no path')
    mkdirSync(dirname(path), { recursive: true })
    execFileSync('mkfifo', ['-m', '600', path])
    this.path = path
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    HeldFifo.#all.add(this)
    if (!holdFifo(this.#fd)) throw new Error('Another thread holds it')
  }

  /** Reads what was written, and returns how many bytes it was. */
  read(): number {
    try {
      return readSync(this.#fd, new Uint8Array(4096))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0
      throw error
    }
  }

  deleteName(): void {
    rmSync(this.path)
  }

  /** Does what the end of its thread does, whatever ends it. */
  close(): void {
    if (HeldFifo.#all.delete(this)) closeSync(this.#fd)
  }

  /** To be called after each test. */
  static closeAll(): void {
    for (const fifo of HeldFifo.#all) fifo.close()
  }
}
