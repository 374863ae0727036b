import { f64, mutex, struct } from 'isthmus'

export const account = struct({ lock: mutex(), balance: f64() })
