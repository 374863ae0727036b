import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { FramedMessenger } from '../framed-stream.js'
import type { MessageSubject, Seat } from '../subject.js'

/** A Unix domain socket of node:net; every message has its length in front of it and is written by itself. */
export const unixSocket: MessageSubject = {
  name: 'unix-socket',
  arrangement: 'processes',
  openMessenger: (seat) => openUnixSocket(seat, new FramedMessenger(seat.messageBytes)),
}

/** The same, but what is sent within a turn of the loop collects until the socket is full: fewer system calls. */
export const corkedUnixSocket: MessageSubject = {
  ...unixSocket,
  name: 'unix-socket corked',
  // Larger ones fill the socket by themselves.
  messageBytesMax: 1024,
  openMessenger: (seat) => openUnixSocket(seat, new FramedMessenger(seat.messageBytes, 'per turn')),
}

/** `connected` on the side that listens. */
export type FramedSocket = FramedMessenger & { connected?(): Promise<void> }

/** The first side listens, the second one dials. */
export function openUnixSocket(seat: Seat, messenger: FramedMessenger): Promise<FramedSocket> {
  return seat.role === 'first' ? listen(seat, messenger) : dial(seat, messenger)
}

async function listen({ place }: Seat, messenger: FramedMessenger): Promise<FramedSocket> {
  const server = createServer()
  const connected = once(server, 'connection').then(([socket]: Socket[]) => {
    // A server's sockets have no `onread`: what they read comes in buffers of their own.
    socket.on('data', (bytes) => messenger.reader.take(bytes as Buffer, bytes.length))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => messenger.onEnd())
    messenger.connect(socket, () => {
      socket.destroy()
      server.close()
    })
  })
  server.listen(join(place.directory, 'socket'))
  await once(server, 'listening')
  return Object.assign(messenger, { connected: () => connected })
}

async function dial({ place }: Seat, messenger: FramedMessenger): Promise<FramedSocket> {
  const socket = connect({ path: join(place.directory, 'socket'), onread: messenger.reader.onread })
  await once(socket, 'connect')
  socket.on('error', () => socket.destroy())
  socket.on('close', () => messenger.onEnd())
  messenger.connect(socket, () => socket.destroy())
  return messenger
}
