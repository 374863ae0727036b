import { broadcastRing, json } from 'isthmus'

export type Quote = { number: number; symbol: string; price: number }

/** Room for about 128 quotes, so that a slow subscriber is soon overrun. One subscriber at a time can have the gate. */
export const market = broadcastRing({ capacityBytes: 8192, gates: 1, codec: json<Quote>() })
export const name = process.argv[2] ?? '/isthmus-example-market'
