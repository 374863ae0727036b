import { RingIncoming, RingOutgoing } from './ring-transport.js'
import { SOCKET_PREFIX, SocketIncoming, SocketOutgoing } from './socket-transport.js'
import type { Outgoing, Transport } from './transport.js'

export const ring: Transport = { name: 'isthmus ring', listen: async () => new RingIncoming() }
export const socket: Transport = { name: 'Unix socket', listen: (directory) => SocketIncoming.listen(directory) }

/** Reaches the end that listens at this address. */
export async function connectTo(address: string): Promise<Outgoing> {
  return address.startsWith(SOCKET_PREFIX) ? SocketOutgoing.connect(address) : new RingOutgoing(address)
}
