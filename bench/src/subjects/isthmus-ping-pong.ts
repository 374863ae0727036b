import type { DrainCallback } from '@isthmus/ring'
import { openRings } from './isthmus-messages.js'
import { LAST_TRIP, type PingPong, pauseThread } from './ping-pong.js'
import type { Seat } from './subject.js'

/** Spins, and writes and reads the numbers in place. */
export async function openInPlacePingPong(seat: Seat): Promise<PingPong> {
  const { producer, consumer, close } = await openRings(seat)
  let received = 0
  const takeNumber: DrainCallback = (_bytes, byteOffset) => {
    received = consumer.words[byteOffset >>> 2]
  }
  const send = (trip: number) => {
    let byteOffset = producer.tryClaim(seat.messageBytes)
    while (byteOffset < 0) byteOffset = producer.tryClaim(seat.messageBytes)
    producer.words[byteOffset >>> 2] = trip
    producer.commit()
  }
  const receive = () => {
    while (consumer.drain(takeNumber) === 0);
    return received
  }
  return {
    roundTrip(trip) {
      send(trip)
      return receive()
    },
    answerAll() {
      for (let trips = 0; ; trips++) {
        const trip = receive()
        send(trip)
        if (trip === LAST_TRIP) return trips
      }
    },
    pause: pauseThread,
    close,
  }
}
