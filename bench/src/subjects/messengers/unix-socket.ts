import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { FramedMessenger, READ_BUFFER_BYTES } from '../framed-stream.js'
import type { Messenger } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

/** A Unix domain socket of node:net; every message has its length in front of it and is written by itself. */
export const unixSocket: MessageSubject = {
  name: 'unix-socket',
  arrangement: 'processes',
  openMessenger: (seat) => openMessenger(seat, false),
}

/** The same, but what is sent within a turn of the loop collects until the socket is full: fewer system calls. */
export const corkedUnixSocket: MessageSubject = {
  ...unixSocket,
  name: 'unix-socket corked',
  // Larger ones fill the socket by themselves.
  messageBytesMax: 1024,
  openMessenger: (seat) => openMessenger(seat, true),
}

function openMessenger(seat: Seat, isCorked: boolean): Promise<Messenger> {
  const messenger = new FramedMessenger(seat.messageBytes, isCorked)
  return seat.role === 'first' ? listen(seat, messenger) : dial(seat, messenger)
}

async function listen({ place }: Seat, messenger: FramedMessenger): Promise<Messenger> {
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

async function dial({ place }: Seat, messenger: FramedMessenger): Promise<Messenger> {
  const buffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)
  const socket = connect({
    path: join(place.directory, 'socket'),
    // One buffer for all reads is faster than a new one for each.
    onread: { buffer, callback: (byteLength) => messenger.reader.take(buffer, byteLength) },
  })
  await once(socket, 'connect')
  socket.on('error', () => socket.destroy())
  socket.on('close', () => messenger.onEnd())
  messenger.connect(socket, () => socket.destroy())
  return messenger
}
