import { spscRing } from '@isthmus/ring'
import { struct, words } from '@isthmus/sync'
import { BEATS, beat, type Calm, segmentField } from '../field.js'
import { Receiver } from '../rings/receiver.js'
import { auditRing } from '../rings/ring-audit.js'
import {
  CONSUMER_DEATHS,
  CONSUMER_THERE,
  ledgerWordsFor,
  PRODUCER_DEATHS,
  PRODUCER_THERE,
  RECEIVED,
  RingLedger,
  ringBase,
} from '../rings/ring-ledger.js'
import { Sender } from '../rings/sender.js'

const CAPACITIES_BYTES = [128, 1024, 8192]
const LEDGER_WORDS = ledgerWordsFor(CAPACITIES_BYTES.length)

const layout = struct({
  ledger: words(LEDGER_WORDS),
  small: spscRing({ capacityBytes: CAPACITIES_BYTES[0] }),
  medium: spscRing({ capacityBytes: CAPACITIES_BYTES[1] }),
  large: spscRing({ capacityBytes: CAPACITIES_BYTES[2] }),
})
type Root = ReturnType<typeof layout.attach>

/** Even roles produce, odd ones consume. What was sent arrives in order and whole, and each death is reported once. */
export const ringsField = segmentField({
  name: 'rings',
  roles: 2 * CAPACITIES_BYTES.length,
  layout,
  ledgerWords: LEDGER_WORDS,
  rehearsal: [0, 1, 2, 3, 4, 5],
  begin(root, { role, incarnation, random }) {
    const ring = role >> 1
    const ledger = new RingLedger(root.ledger, ring)
    const Player = role % 2 === 0 ? Sender : Receiver
    const player = new Player(
      ringIn(root, ring),
      ledger,
      { ring, capacityBytes: CAPACITIES_BYTES[ring] },
      incarnation,
      random,
    )
    return () => {
      if (player.step() > 0) beat(root.ledger, role)
    }
  },
  audit(root, isSwept) {
    for (const [ring, capacityBytes] of CAPACITIES_BYTES.entries()) {
      auditRing(ringIn(root, ring), root.ledger, { ring, capacityBytes }, isSwept)
    }
  },
  hasRecovered: (calm) => CAPACITIES_BYTES.every((_, ring) => hasRingRecovered(calm, ring)),
  steps(ledger) {
    return CAPACITIES_BYTES.reduce((sum, _, ring) => sum + ledger.word(ringBase(ring) + RECEIVED), 0)
  },
})

function ringIn(root: Root, ring: number) {
  return [root.small, root.medium, root.large][ring]
}

/** Whether both sides have got on, or the side that is left was told of the other's death, if that one had the role. */
function hasRingRecovered({ before, now, isPresent, incarnationOf }: Calm, ring: number): boolean {
  const base = ringBase(ring)
  const [producer, consumer] = [2 * ring, 2 * ring + 1]
  const isTold = (there: number, deaths: number, absent: number) => {
    const hadRole = now.word(base + there) === incarnationOf(absent)
    return !hadRole || now.word(base + deaths) !== before.word(base + deaths)
  }
  if (!isPresent(producer)) return isTold(PRODUCER_THERE, PRODUCER_DEATHS, producer)
  if (!isPresent(consumer)) return isTold(CONSUMER_THERE, CONSUMER_DEATHS, consumer)
  return [producer, consumer].every((role) => now.word(BEATS + role) !== before.word(BEATS + role))
}
