import { f64, mutex, struct } from '@isthmus/sync'

export const account = struct({ lock: mutex(), balance: f64() })
