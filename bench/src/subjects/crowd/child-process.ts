import type { Messenger } from '../messenger.js'
import {
  type ChannelCodec,
  childProcessAdvanced,
  childProcessJson,
  cloneCodec,
  jsonCodec,
} from '../messengers/child-process.js'
import type { MessageSubject } from '../subject.js'
import { messengerCrowd } from './crowd-messenger.js'
import type { CrowdSeat, CrowdSubject } from './crowd-subject.js'

/** How many bytes, or messages, are under way before a sender waits until the host has passed them on, 64 at once. */
const BYTES_UNDER_WAY = 1024 * 1024
const MESSAGES_UNDER_WAY = 1024
const MESSAGES_UNDER_WAY_MIN = 128

/** All sides are children of one process, which passes each message on to the next receiver. */
export const childProcessJsonCrowd = crowdOf(childProcessJson, jsonCodec)

/** The same with structured clones. */
export const childProcessAdvancedCrowd = crowdOf(childProcessAdvanced, cloneCodec)

function crowdOf<W>({ name, arrangement }: MessageSubject, codec: ChannelCodec<W>): CrowdSubject {
  return messengerCrowd({ name, arrangement, does: ({ isLoan }) => !isLoan }, (seat) => openMessenger(seat, codec))
}

function openMessenger<W>({ line: { channel }, messageBytes }: CrowdSeat, codec: ChannelCodec<W>): Messenger {
  if (channel === undefined) throw new Error('Opening a channel: this side is no child')
  const fitting = Math.min(MESSAGES_UNDER_WAY, Math.floor(BYTES_UNDER_WAY / messageBytes))
  const underWayMax = Math.max(MESSAGES_UNDER_WAY_MIN, fitting)
  let underWay = 0
  let unwritten = 0
  let resume: (() => void) | undefined
  const written = () => {
    unwritten--
    if (unwritten === 0) resume?.()
  }
  const untilResumed = () =>
    new Promise<void>((resolve) => {
      resume = resolve
    })
  const untilRoom = async () => {
    while (underWay >= underWayMax) await untilResumed()
  }
  const messenger: Messenger = {
    onMessage() {},
    send(message) {
      unwritten++
      underWay++
      channel.send?.(codec.encode(message), written)
      return underWay >= underWayMax ? untilRoom() : undefined
    },
    async flush() {
      while (unwritten > 0) await untilResumed()
    },
    close() {
      if (channel.connected) channel.disconnect?.()
    },
  }
  channel.on('message', (wire) => {
    if (typeof wire === 'number') {
      underWay -= wire
      resume?.()
    } else messenger.onMessage(codec.decode(wire as W))
  })
  return messenger
}
