import { expect, test } from 'vitest'
import {
  followingPhase,
  hasArrivedAt,
  memberWord,
  NO_MEMBER,
  peerOfMember,
  phaseOf,
  withOneMoreJoin,
  withPhase,
} from '../../src/barrier/layout.js'
import { peerId } from '../../src/peers/peer-id.js'

const PHASE_MAX = 2 ** 23 - 1

test.each([0, 1, 7, 8, 2 ** 22, PHASE_MAX])('phase %s stands beside the joins, in a word of 32 bits', (phase) => {
  let word = withPhase(0, phase)
  for (let join = 0; join < 300; join++) {
    word = withOneMoreJoin(word)
    expect([phaseOf(word), word & 1, word]).toEqual([phase, 0, word | 0])
  }
  expect(word).not.toBe(withPhase(0, phase))
})

test('followingPhase begins again at 8, so that phase 0 comes once, and keeps the order modulo 8', () => {
  expect([
    followingPhase(0),
    followingPhase(PHASE_MAX),
    followingPhase(PHASE_MAX, 2),
    followingPhase(PHASE_MAX - 1, 2),
  ]).toEqual([1, 8, 9, 8])
  for (const phase of [PHASE_MAX - 1, PHASE_MAX, 8]) expect(followingPhase(phase) % 8).toBe((phase + 1) % 8)
})

test.each([0, 6, 7, PHASE_MAX])('a member has arrived at phase %s once the next one is its next', (phase) => {
  const peer = peerId(127, 2 ** 22 - 1)
  const before = memberWord(peer, phase)
  const after = memberWord(peer, followingPhase(phase))
  expect([hasArrivedAt(before, phase), hasArrivedAt(after, phase)]).toEqual([false, true])
  expect([peerOfMember(before), peerOfMember(after)]).toEqual([peer, peer])
  expect([before, after]).not.toContain(NO_MEMBER)
})
