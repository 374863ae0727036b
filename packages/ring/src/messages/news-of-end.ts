import { PeerDiedError } from '@isthmus/sync'
import type { IncompleteMessageError } from '../errors.js'
import type { MessageAssembly } from '../record/message-assembly.js'
import { type Counterpart, type EndedEpoch, nameOf } from '../role/counterpart.js'
import { CLOSED } from '../role/layout.js'

/**
 * What to throw for the end of a sender's epoch, when all that it had committed was received; undefined if it closed between two
 * messages.
 * @param word what error messages call the sender
 * @param attempt how they begin
 */
export function newsOfEnd(
  { epoch, state }: EndedEpoch,
  sender: Counterpart,
  word: string,
  { incomplete }: MessageAssembly,
  attempt: string,
): PeerDiedError | IncompleteMessageError | undefined {
  if (state === CLOSED) return incomplete
  const lost =
    incomplete === undefined
      ? ''
      : `, except for a large message of which ${incomplete.receivedBytes} of ${incomplete.messageByteLength} bytes had come`
  const agent = sender.agentIn(epoch)
  return new PeerDiedError(
    `${attempt}: its ${word}${nameOf(agent)} died, or ended without closing. Everything that it had committed was received${lost}. Receive again to wait for the next ${word}.`,
    agent,
  )
}
