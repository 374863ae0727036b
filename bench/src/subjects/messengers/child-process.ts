import type { ChannelEnd } from '../../harness/assignment.js'
import type { Messenger } from '../messenger.js'
import type { MessageSubject, Seat } from '../subject.js'

/** How many bytes, or messages, are under way before the sender waits until they are written. */
const BYTES_UNDER_WAY = 1024 * 1024
const MESSAGES_UNDER_WAY = 1024

/** The channel between a process and its child, with JSON: the bytes travel as base64 text. */
export const childProcessJson: MessageSubject = {
  name: 'child_process json',
  arrangement: 'json channel',
  messageBytesMax: 1024 * 1024,
  openMessenger: (seat) => openMessenger(seat, jsonCodec),
}

/** The same with structured clones. */
export const childProcessAdvanced: MessageSubject = {
  name: 'child_process advanced',
  arrangement: 'advanced channel',
  openMessenger: (seat) => openMessenger(seat, cloneCodec),
}

/** What the channel carries for a message. */
export interface ChannelCodec<W> {
  encode(message: Uint8Array): W
  decode(wire: W): Uint8Array
}

export const jsonCodec: ChannelCodec<string> = {
  encode: (message) => Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('base64'),
  decode: (text) => Buffer.from(text, 'base64'),
}

export const cloneCodec: ChannelCodec<Uint8Array> = { encode: (message) => message, decode: (message) => message }

function openMessenger<W>({ line, messageBytes }: Seat, { encode, decode }: ChannelCodec<W>): Messenger {
  const channel: ChannelEnd | undefined = line.channel
  if (channel === undefined) throw new Error('Opening a channel: the sides are not parent and child')
  const underWayMax = Math.max(2, Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes)))
  let underWay = 0
  let resume: (() => void) | undefined
  const messenger: Messenger = {
    onMessage() {},
    send(message) {
      channel.send?.(encode(message), () => {
        underWay--
        resume?.()
        resume = undefined
      })
      if (++underWay < underWayMax) return
      return new Promise((resolve) => {
        resume = resolve
      })
    },
    async flush() {
      while (underWay > 0) {
        await new Promise<void>((resolve) => {
          resume = resolve
        })
      }
    },
    close() {
      if (channel.connected) channel.disconnect?.()
    },
  }
  channel.on('message', (wire) => messenger.onMessage(decode(wire as W)))
  channel.on('disconnect', () => messenger.onEnd?.())
  return messenger
}
