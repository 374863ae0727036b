import type { Result } from '../harness/contest.js'

/** How many write calls the sender and the receiver made for each message; nothing if they were not counted. */
export function formatWriteCalls({ writeCallsPerMessage }: Result): string[] {
  if (writeCallsPerMessage === undefined) return []
  const { sender, receiver } = writeCallsPerMessage
  return [sender, receiver].map((calls) => (calls >= 100 ? calls.toFixed(0) : String(Number(calls.toPrecision(2)))))
}
