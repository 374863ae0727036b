import { f64, json, spscRing, struct } from 'isthmus'

type Order = { item: string; price: number }

/** One description of the memory, imported by both programs. */
export const orders = struct({ ring: spscRing({ capacityBytes: 1 << 20, codec: json<Order>() }), total: f64() })
export const name = '/isthmus-example-orders'
