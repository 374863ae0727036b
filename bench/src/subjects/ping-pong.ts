import { setTimeout as delay } from 'node:timers/promises'
import type { Courier, Messenger } from './messenger.js'
import { viewOf } from './stamp.js'

/** The last request: it is answered like any other, and ends the answering side. */
export const LAST_TRIP = -1

const MESSAGE_BYTES = 8

/** Either side of an exchange in which numbers are sent and come back. */
export interface PingPong {
  /** Sends a number, and returns what comes back. */
  roundTrip(trip: number): number | Promise<number>
  /** Answers until LAST_TRIP; returns how many others there were. */
  answerAll(): number | Promise<number>
  /** Between two round trips: lets this side sleep. */
  pause(pauseMs: number): void | Promise<void>
  connected?(): Promise<void>
  close(): void
}

const pauseWord = new Int32Array(new SharedArrayBuffer(4))

/** Blocks the thread. */
export function pauseThread(pauseMs: number): void {
  Atomics.wait(pauseWord, 0, 0, pauseMs)
}

export function courierPingPong(courier: Courier): PingPong {
  const request = new Uint8Array(MESSAGE_BYTES)
  const requestView = viewOf(request)
  return {
    roundTrip(trip) {
      requestView.setInt32(0, trip)
      courier.send(request)
      return viewOf(courier.receive()).getInt32(0)
    },
    answerAll() {
      for (let trips = 0; ; trips++) {
        const message = courier.receive()
        const trip = viewOf(message).getInt32(0)
        courier.send(message)
        if (trip === LAST_TRIP) return trips
      }
    },
    pause: pauseThread,
    close: () => courier.close(),
  }
}

export function messengerPingPong(messenger: Messenger): PingPong {
  const request = new Uint8Array(MESSAGE_BYTES)
  const requestView = viewOf(request)
  return {
    roundTrip(trip) {
      return new Promise((resolve) => {
        messenger.onMessage = (message) => resolve(viewOf(message).getInt32(0))
        requestView.setInt32(0, trip)
        messenger.send(request)
      })
    },
    async answerAll() {
      let trips = 0
      await new Promise<void>((resolve, reject) => {
        messenger.onMessage = (message) => {
          const trip = viewOf(message).getInt32(0)
          const sent = messenger.send(message)
          if (trip === LAST_TRIP) Promise.resolve(sent).then(resolve, reject)
          else trips++
        }
      })
      await messenger.flush?.()
      return trips
    },
    pause: async (pauseMs) => {
      await delay(pauseMs)
    },
    connected: async () => {
      await messenger.connected?.()
    },
    close: () => messenger.close(),
  }
}
