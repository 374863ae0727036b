import type { Mutant } from './mutant.js'
import { hostile, interleaver, killPoints, tests } from './rung.js'

const BROADCAST = 'packages/ring/src/broadcast'
const STEPS = 'packages/ring/test/broadcast/subscriber-steps.test.ts'

/**
 * Mistakes in the broadcast ring. Its steps are numbered in its layout.ts. Left out are two that are harmless. A checkpoint
 * that is stored before the position (G5 before G4) is passed over by all that meet it, as broadcast-lossy.cpp shows. And J3 only
 * spares space: the number of the first message is read after it, with its position, and there the subscriber begins.
 */
export const broadcastMutants: readonly Mutant[] = [
  {
    name: 'R5: a copy is validated by the write position',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    const intent = this.#intent\n    intent.read()\n',
    to: '    const intent = this.#writePosition\n    intent.read()\n',
    rung: interleaver('broadcast-overrun'),
    isBrief: true,
  },
  {
    name: 'R5 is left out: a copy is not validated',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    return ahead <= this.#capacityBytes\n',
    to: '    return ahead <= this.#capacityBytes || ahead > 0\n',
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'R5 is left out for what is shown in place',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    if (this.#isIntact(this.#position)) {\n      this.#takeOne',
    to: '    if (this.#shownBytes > 0) {\n      this.#takeOne',
    rung: interleaver('broadcast-overrun-in-place'),
  },
  {
    name: 'R5 is left out for what is shown in place by a callback that throws',
    file: `${BROADCAST}/subscriber.ts`,
    from: '      this.#isInside = false\n      // The callback has thrown.\n      this.endShowing()\n',
    to: '      this.#isInside = false\n      if (this.#shownBytes !== 0) this.#takeOne(this.#shownBytes)\n',
    rung: tests(STEPS, 'overwritten while its callback threw'),
  },
  {
    name: 'R5 is left out after a fragment was copied',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    if (!this.#isIntactOrSkips()) return undefined\n    const isLast = isLastOf(fragment)\n',
    to: '    const isLast = isLastOf(fragment)\n',
    rung: tests(STEPS, 'gives out no fragment that was overwritten'),
  },
  {
    name: 'R5 is left out after a chunk was copied',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    if (!this.#isIntactOrSkips()) return undefined\n    this.#step(recordBytesOf(byteLength), chunk.isLast)\n',
    to: '    this.#step(recordBytesOf(byteLength), chunk.isLast)\n',
    rung: tests(STEPS, 'gives out no fragment that was overwritten'),
  },
  {
    name: 'R5 by a gate that is not looked at',
    file: `${BROADCAST}/subscriber.ts`,
    from: '      if (this.#gate?.isActive) return true\n      this.#dropGate()\n',
    to: '      return true\n',
    rung: interleaver('broadcast-demote-while-copying'),
  },
  {
    name: 'a run counts before it is validated',
    file: `${BROADCAST}/subscriber.ts`,
    from: 'recordBytesOf(byteLength), availableBytes, NOWHERE)',
    to: 'recordBytesOf(byteLength), availableBytes, this.#position)',
    rung: tests(STEPS, 'gives out no copy that it could not validate'),
  },
  {
    name: 'G2 covers what is published, and not what is about to be written',
    file: `${BROADCAST}/publisher.ts`,
    from: '      const aimed = advance(end, this.#intentStepBytes)\n',
    to: '      const aimed = advance(this.#writePosition.low, this.#intentStepBytes - this.#intentStepBytes)\n',
    rung: interleaver('broadcast-overrun'),
    isBrief: true,
  },
  {
    name: 'G4: the number is written after the position',
    file: `${BROADCAST}/publisher.ts`,
    from: `    this.#nextNumber.write(writePosition.low, position, low, high, isInside)
    writePosition.moveTo(position)
    // The messages`,
    to: `    const published = writePosition.low
    writePosition.moveTo(position)
    this.#nextNumber.write(published, position, low, high, isInside)
    // The messages`,
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'G4: the number has one place',
    file: `${BROADCAST}/next-number.ts`,
    from: 'words[this.#word + POSITION] === published ? this.#word + WORDS : this.#word\n',
    to: 'words[this.#word + POSITION] === published ? this.#word : this.#word + WORDS\n',
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'G4: a high word of the number does not follow its low word',
    file: `${BROADCAST}/publisher.ts`,
    from: '        if (low === 0) high = (high + 1) | 0\n      } else if (kind === ABORT) {\n',
    to: '      } else if (kind === ABORT) {\n',
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'G6 is left out: no subscriber is woken',
    file: `${BROADCAST}/publisher.ts`,
    from: '    this.#data.notifyAll()\n',
    to: '    if (low === 1) this.#data.notifyAll()\n',
    rung: interleaver('broadcast-sleep-and-publish'),
  },
  {
    name: 'G6 wakes one subscriber',
    file: `${BROADCAST}/publisher.ts`,
    from: '    this.#data.notifyAll()\n',
    to: '    this.#data.notifyOne()\n',
    rung: interleaver('broadcast-sleep-and-publish'),
  },
  {
    name: 'a successor begins at the intent',
    file: `${BROADCAST}/publisher.ts`,
    from: '        position: writePosition.low,\n        prefixBytes',
    to: '        position: side.intent.low,\n        prefixBytes',
    rung: interleaver('broadcast-publisher-takeover'),
  },
  {
    name: 'a successor takes the intent back',
    file: `${BROADCAST}/publisher.ts`,
    from: '  intent.restore()\n',
    to: '  intent.restore()\n  intent.moveTo(writePosition.low)\n',
    rung: tests('packages/ring/test/broadcast/publisher.test.ts'),
  },
  {
    name: 'a successor does not know that it is inside a message',
    file: `${BROADCAST}/publisher.ts`,
    from: '      subscribers.isInside = takeOver(side, number)\n',
    to: '      takeOver(side, number)\n',
    rung: interleaver('broadcast-takeover-fragments'),
  },
  {
    name: 'E1 comes after E2: the era is stored after the low word',
    file: `${BROADCAST}/position.ts`,
    from: `    if (era !== this.era) Atomics.store(words, word + 1, era)
    // SYNC position visible to its reader: everything that its writer did before it stored it
    Atomics.store(words, word, low)
`,
    to: `    Atomics.store(words, word, low)
    if (era !== this.era) Atomics.store(words, word + 1, era)
`,
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'L3: an era that is one ahead is taken for the era of the low word',
    file: `${BROADCAST}/position.ts`,
    from: '    this.era = (era - behind) | 0\n',
    to: '    this.era = era\n',
    rung: tests('packages/ring/test/broadcast/publisher-position.test.ts'),
  },
  {
    name: 'L2: the era is read once',
    file: `${BROADCAST}/position.ts`,
    from: '    for (let tries = 0; era !== this.#knownEra; tries++) {\n',
    to: '    for (let tries = 0; tries < 0; tries++) {\n',
    rung: tests('packages/ring/test/broadcast/publisher-position.test.ts'),
  },
  {
    name: 'a subscriber begins where its gate began',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    this.#gateLow = this.#writePosition.low\n',
    to: '    this.#gateLow = this.#returnedPosition\n',
    rung: interleaver('broadcast-take-gate'),
  },
  {
    name: 'J4 leaves no position in the cursor for a moment',
    file: `${BROADCAST}/gates.ts`,
    from: '    cursor.moveTo(low)\n    return true\n',
    to: '    cursor.replace(low, era)\n    return true\n',
    rung: tests(STEPS, 'leaves a position in its cursor at every moment'),
  },
  {
    name: 'J4 wakes no publisher',
    file: `${BROADCAST}/gates.ts`,
    from: '            // J4. The publisher may have found the old cursor, and wait.\n            this.#space.notify()\n',
    to: '',
    rung: interleaver('broadcast-take-gate'),
    isBrief: true,
  },
  {
    name: 'a gate is freed without a proof of the death',
    file: `${BROADCAST}/gates.ts`,
    from: 'if (owner !== FREE && this.#geometry.region.peers.isDead(peerOfGate(owner))) this.free(gate, owner)',
    to: 'if (owner !== FREE) this.free(gate, owner)',
    rung: interleaver('broadcast-join-gate'),
  },
  {
    name: 'a publisher frees no gate of a dead subscriber',
    file: `${BROADCAST}/gates.ts`,
    from: 'if (owner !== FREE && this.#geometry.region.peers.isDead(peerOfGate(owner))) this.free(gate, owner)',
    to: 'if (owner === FREE && this.#geometry.region.peers.isDead(peerOfGate(owner))) this.free(gate, owner)',
    rung: killPoints('broadcast subscriber: receives'),
  },
  {
    name: 'a sweep frees no gate',
    file: `${BROADCAST}/gates.ts`,
    from: 'if (owner !== FREE && peerOfGate(owner) === deadPeer) this.free(gate, owner)',
    to: 'if (owner === FREE && peerOfGate(owner) === deadPeer) this.free(gate, owner)',
    rung: killPoints('broadcast subscriber: joins'),
  },
  {
    name: 'the length of a record that is shown in place is trusted',
    file: `${BROADCAST}/subscriber.ts`,
    from: 'fitsRecord(byteLength, distance(this.#writeLow, this.#position), this.#capacityBytes - index) &&',
    to: 'byteLength >= 0 &&',
    rung: hostile('broadcast/heap/between'),
  },
  {
    name: 'a demotion wakes no publisher',
    file: `${BROADCAST}/gates.ts`,
    from: '    if (found !== gateWord(ACTIVE, peer)) return false\n    this.#space.notify()\n',
    to: '    if (found !== gateWord(ACTIVE, peer)) return false\n',
    rung: tests('packages/ring/test/broadcast/publisher.test.ts'),
  },
  {
    name: 'returned space wakes no publisher',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    gate.moveCursor(this.#position)\n    this.#space.notify()\n',
    to: '    gate.moveCursor(this.#position)\n',
    rung: interleaver('broadcast-gate'),
  },
  {
    name: 'a subscriber that has caught up with its gate does not note it',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    if (!this.#isProtected) this.#noteProtection()\n    if (!this.#isProtected || ',
    to: '    if (!this.#isProtected || ',
    rung: tests(STEPS, 'tryReceive: returns its space'),
  },
  {
    name: 'the position of a gate is not used after an overrun',
    file: `${BROADCAST}/subscriber.ts`,
    from: '      if (this.#gate?.isActive) {\n        // From here on',
    to: '      if (this.#gate?.isActive && next.low === this.#position) {\n        // From here on',
    rung: tests('packages/ring/test/broadcast/subscriber.test.ts'),
  },
  {
    name: 'one message of an overrun is not counted',
    file: `${BROADCAST}/subscriber.ts`,
    from: '    const lost = this.#number.distanceTo(next.low, next.high)\n',
    to: '    const lost = Math.max(0, this.#number.distanceTo(next.low, next.high) - 1)\n',
    rung: interleaver('broadcast-overrun'),
  },
  {
    name: 'a checkpoint is not validated by the intent',
    file: `${BROADCAST}/subscriber.ts`,
    from: '        return this.#isIntact(from) && (kind === DATA || kind === FIRST)\n',
    to: '        return kind === DATA || kind === FIRST\n',
    rung: interleaver('broadcast-oldest'),
  },
  {
    name: 'a newcomer asks whether the publisher has ended after it has read where it begins',
    file: `${BROADCAST}/subscriber.ts`,
    from: '        this.sender.passOverEnded()\n        const isInsideNow = nextNumber.read(this.#writePosition, this.#number)\n',
    to: '        const isInsideNow = nextNumber.read(this.#writePosition, this.#number)\n        this.sender.passOverEnded()\n',
    rung: tests(STEPS, 'is told the end of a publisher'),
  },
]
