import { barrier, f64, mutex, struct } from '@isthmus/sync'

export const TELLERS = 2
export const DEPOSITS = 10_000

export const account = struct({ lock: mutex(), balance: f64(), closing: barrier({ parties: TELLERS + 1 }) })
export const name = '/isthmus-example-account'
