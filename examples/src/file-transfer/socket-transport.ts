import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { addAbortSignal } from 'node:stream'
import type { Incoming, Outgoing } from './transport.js'

/** Tells the address of a socket from the name of a segment, which begins with a slash. */
export const SOCKET_PREFIX = 'unix:'

export class SocketOutgoing implements Outgoing {
  readonly #socket: Socket

  private constructor(socket: Socket) {
    this.#socket = socket
    // A failure reaches us through the callback of the write that it spoils.
    socket.on('error', () => {})
  }

  static async connect(address: string): Promise<SocketOutgoing> {
    const socket = connect(address.slice(SOCKET_PREFIX.length))
    await once(socket, 'connect')
    return new SocketOutgoing(socket)
  }

  send(block: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(block, (error) => (error ? reject(error) : resolve()))
    })
  }

  async close(): Promise<void> {
    this.#socket.end()
  }
}

export class SocketIncoming implements Incoming {
  readonly address: string
  readonly #server: Server
  #socket: Socket | undefined

  private constructor(address: string, server: Server) {
    this.address = address
    this.#server = server
  }

  /** @param directory in which the socket has its name, until `close` */
  static async listen(directory: string): Promise<SocketIncoming> {
    const path = join(directory, 'socket')
    const server = createServer().listen(path)
    await once(server, 'listening')
    return new SocketIncoming(SOCKET_PREFIX + path, server)
  }

  async connected(signal: AbortSignal): Promise<void> {
    try {
      const [socket] = await once(this.#server, 'connection', { signal })
      this.#socket = socket
    } catch (error) {
      // The reason says more than the AbortError that `once` makes of it.
      signal.throwIfAborted()
      throw error
    }
  }

  async receive(take: (chunk: Uint8Array) => void, signal: AbortSignal): Promise<void> {
    const socket = this.#socket
    if (socket === undefined)
      throw new Error('Receiving through a socket: no sender is connected. Await connected first.')
    addAbortSignal(signal, socket)
    socket.on('data', (chunk) => {
      try {
        take(chunk)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    await once(socket, 'close')
  }

  close(): void {
    this.#socket?.destroy()
    this.#server.close()
  }
}
