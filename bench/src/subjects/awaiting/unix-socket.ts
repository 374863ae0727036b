import type { Side } from '../../harness/timed-transfers.js'
import { type AwaitingSubject, BATCH_MESSAGES } from '../awaiting-subject.js'
import { FramedMessenger, type FrameWriter, LENGTH_BYTES } from '../framed-stream.js'
import { openUnixSocket } from '../messengers/unix-socket.js'
import { checkBytes, stampBytes, wrongMessageError } from '../stamp.js'
import type { Seat } from '../subject.js'

const CORKED_BYTES_MAX = 16 * 1024

/**
 * node:net as a good program uses it. A message is made in place, behind its length, so that it is written without being
 * copied; the sender waits if the socket asks for it. The receiver reads into one buffer, and looks at the messages there.
 */
export const unixSocketAwaiting: AwaitingSubject = {
  name: 'unix-socket',
  does: () => true,
  openers: { first: sending(0, sendEach), second: openReceiver },
}

/** The same, with 64 messages between `cork` and `uncork`: one system call for all of them. */
export const unixSocketCorkedAwaiting: AwaitingSubject = {
  name: 'unix-socket corked by 64',
  // Larger ones fill the socket by themselves.
  does: (messageBytes) => messageBytes <= CORKED_BYTES_MAX,
  openers: { first: sending(BATCH_MESSAGES, sendCorked), second: openReceiver },
}

type Send = (writer: FrameWriter, messageBytes: number, messages: number) => Promise<void>

function sending(corkedMessages: number, transfer: Send) {
  return async (seat: Seat): Promise<Side> => {
    const { messageBytes } = seat
    const socket = await openUnixSocket(seat, new FramedMessenger(messageBytes, corkedMessages))
    return {
      connected: async () => socket.connected?.(),
      async transfer(messages) {
        await transfer(socket.writer, messageBytes, messages)
        await socket.flush()
      },
      close: () => socket.close(),
    }
  }
}

async function sendEach(writer: FrameWriter, messageBytes: number, messages: number): Promise<void> {
  for (let sequence = 0; sequence < messages; sequence++) {
    const frame = writer.nextFrame()
    stampBytes(frame, LENGTH_BYTES, messageBytes, sequence)
    if (!writer.writeFrame(frame)) await writer.drained()
  }
}

async function sendCorked(writer: FrameWriter, messageBytes: number, messages: number): Promise<void> {
  for (let sequence = 0; sequence < messages; ) {
    const batchEnd = Math.min(sequence + BATCH_MESSAGES, messages)
    writer.cork()
    for (; sequence < batchEnd; sequence++) {
      const frame = writer.nextFrame()
      stampBytes(frame, LENGTH_BYTES, messageBytes, sequence)
      writer.writeFrame(frame)
    }
    if (!writer.uncork()) await writer.drained()
  }
}

async function openReceiver(seat: Seat): Promise<Side> {
  const socket = await openUnixSocket(seat, new FramedMessenger(seat.messageBytes))
  return {
    transfer: (messages) => receive(socket, seat.messageBytes, messages),
    close: () => socket.close(),
  }
}

function receive(socket: FramedMessenger, messageBytes: number, messages: number): Promise<void> {
  let sequence = 0
  return new Promise((resolve, reject) => {
    socket.onEnd = () => reject(wrongMessageError(sequence))
    socket.onMessage = (message) => {
      try {
        if (message.byteLength !== messageBytes) throw wrongMessageError(sequence)
        checkBytes(message, 0, messageBytes, sequence)
      } catch (error) {
        reject(error)
      }
      if (++sequence === messages) resolve()
    }
  })
}
