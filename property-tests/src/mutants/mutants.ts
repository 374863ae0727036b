import type { Mutant } from './mutant.js'
import { hostile, interleaver, killPoints, tests } from './rung.js'

const SYNC = 'packages/sync/src'
const RING = 'packages/ring/src'
const POSIX = 'packages/shm-posix/src'

/** Every entry is one mistake that somebody could make. */
export const mutants: readonly Mutant[] = [
  {
    name: 'a message is published before it is written',
    file: `${RING}/spsc/producer.ts`,
    from: `    this.bytes.set(bytes, this.#writeHeader(this.#claimStart, byteLength, DATA))
    this.#claimEnd = (this.#claimStart + recordBytes) | 0
    this.commit()
`,
    to: `    const at = this.#writeHeader(this.#claimStart, byteLength, DATA)
    this.#claimEnd = (this.#claimStart + recordBytes) | 0
    this.commit()
    this.bytes.set(bytes, at)
`,
    rung: interleaver('spsc-send-receive'),
    isBrief: true,
  },
  {
    name: 'trySend publishes before it has copied',
    file: `${RING}/spsc/producer.ts`,
    from: `    try {
      this.bytes.set(bytes, byteOffset)
    } catch (error) {
      // Its buffer is detached.
      this.abort()
      throw error
    }
    this.commit()`,
    to: '    this.commit()\n    this.bytes.set(bytes, byteOffset)',
    // Two real threads: no scenario of the interleaver calls trySend.
    rung: tests('property-tests/test/spsc-transfer.test.ts'),
  },
  {
    name: 'space is returned before the message is copied',
    file: `${RING}/spsc/consumer.ts`,
    from: '      return this.bytes.slice(start, start + byteLength)',
    to: '      this.#returnSpace()\n      return this.bytes.slice(start, start + byteLength)',
    rung: interleaver('spsc-wrap'),
  },
  {
    name: 'the consumer compares a role with itself',
    file: `${RING}/spsc/consumer.ts`,
    from: 'this.#producerRole.word !== this.#judgedRoleWord',
    to: 'this.#producerRole.word !== this.#producerRole.word',
    rung: interleaver('spsc-close'),
  },
  {
    name: 'ABORT is left out',
    file: `${RING}/spsc/producer.ts`,
    from: '    } finally {\n      if (this.#isMessageUnderWay) this.#publishAbort()',
    to: '    } finally {',
    rung: tests('packages/ring/test/spsc/spsc-ring.property.test.ts', 'large messages'),
  },
  {
    name: 'no space is kept for an ABORT',
    file: `${RING}/spsc/producer.ts`,
    from: 'while (!this.#findRoom(recordBytes, RECORD_HEADER_BYTES)) {',
    to: 'while (!this.#findRoom(recordBytes, 0)) {',
    rung: tests('packages/ring/test/spsc/spsc-ring.property.test.ts', 'large messages'),
  },
  {
    name: 'a new holder of a role keeps the epoch',
    file: `${RING}/role/role.ts`,
    from: 'roleWord(nextEpoch(epochOfRole(previous)), HELD,',
    to: 'roleWord(epochOfRole(previous), HELD,',
    rung: tests('packages/ring/test/role/role.test.ts'),
  },
  {
    name: 'a record is as long as it says',
    file: `${RING}/spsc/consumer.ts`,
    from: '    if (isWithin) return recordBytes\n',
    to: '    if (isWithin || byteLength !== 0) return recordBytes\n',
    rung: hostile('ring/heap/between'),
    isBrief: true,
  },
  {
    name: 'a message is as long as it says',
    file: `${RING}/spsc/message-assembly.ts`,
    from: '    if (total > this.#maxMessageBytes) throw this.#tooLarge(total)\n',
    to: '',
    rung: hostile('ring/segment/between'),
  },
  {
    name: 'a fragment may lie behind the end of its message',
    file: `${RING}/spsc/message-assembly.ts`,
    from: ': byteLength > 0 && received < this.#messageByteLength',
    to: ': byteLength > 0',
    rung: hostile('ring/heap/between'),
  },
  {
    name: 'recovery appends where there is no space',
    file: `${RING}/spsc/recovery.ts`,
    from: '    if (((position - readPosition) | 0) > capacityBytes - RECORD_HEADER_BYTES) position = lastPosition\n',
    to: '',
    rung: hostile('recovery/heap/between'),
  },
  {
    name: 'a slot number is believed',
    file: `${SYNC}/peers/declared-liveness.ts`,
    from: 'const isNobody = sweeper >= MAX_PEERS',
    to: 'const isNobody = false',
    rung: hostile('peers/heap/between'),
  },
  {
    name: 'a sweep of a barrier looks for a name in any place',
    file: `${SYNC}/barrier/barrier.ts`,
    from: 'const member = Atomics.load(this.#words, this.#firstMember + slotOf(deadPeer))',
    to: 'const member = this.#members().find((word) => peerOfMember(word) === deadPeer) ?? NO_MEMBER',
    rung: hostile('barrier-break/heap/between'),
  },
  {
    name: 'a timeout is not looked at',
    file: `${SYNC}/waiting/wait-point.ts`,
    from: '      if (startedMs >= deadline) return false\n',
    to: '',
    rung: hostile('mutex/heap/between'),
  },
  {
    name: 'an event count sets its word after the last look',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self)\n    try {\n      if (lastLook(condition)) return true\n',
    to: '    try {\n      if (lastLook(condition)) return true\n      Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self)\n',
    rung: interleaver('event-count'),
    isBrief: true,
  },
  {
    name: 'an event count wakes without a new sequence',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    Atomics.add(this.#words, this.#sequenceIndex, 1)\n',
    to: '',
    rung: interleaver('event-count'),
  },
  {
    name: 'a bell is not rung',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    else this.ring((sleeper & PEER_MASK) as PeerId)\n',
    to: '',
    rung: interleaver('doorbell'),
  },
  {
    name: 'the hint of a ring comes after it',
    file: `${SYNC}/waiting/heap-waiter.ts`,
    from: '      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))\n    }\n    Atomics.add(this.#words, bell, 1)\n    return Atomics.notify(this.#words, bell) > 0\n',
    to: '      Atomics.add(this.#words, bell, 1)\n      Atomics.notify(this.#words, bell)\n      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))\n    }\n    return true\n',
    rung: interleaver('doorbell'),
  },
  {
    name: 'a wait set sets its bit after the last look',
    file: `${SYNC}/waiting/wait-set.ts`,
    from: '    this.enterSync()\n    try {\n      if (lastLook(condition)) return true\n',
    to: '    const isReady = lastLook(condition)\n    this.enterSync()\n    try {\n      if (isReady) return true\n',
    rung: interleaver('futex'),
  },
  {
    name: 'a wait set wakes without a new sequence',
    file: `${SYNC}/waiting/wait-set.ts`,
    from: '    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1)\n',
    to: '    const sequence = Atomics.load(this.#words, this.#sequenceIndex)\n',
    rung: interleaver('semaphore'),
  },
  {
    name: 'an unlock wakes nobody',
    file: `${SYNC}/mutex/mutex.ts`,
    from: '    if (isAwaited) this.#waiters.notifyOne()\n',
    to: '',
    rung: interleaver('mutex'),
    isBrief: true,
  },
  {
    name: 'whoever slept takes a mutex without CONTENDED',
    file: `${SYNC}/mutex/mutex.ts`,
    from: 'this.#take(wish.guard, wish.hasSlept ? CONTENDED : 0)',
    to: 'this.#take(wish.guard, 0)',
    rung: interleaver('mutex-three'),
  },
  {
    name: 'INCONSISTENT is lost when a mutex is unlocked',
    file: `${SYNC}/mutex/owner-word.ts`,
    from: 'if (this.#replace(word, word & INCONSISTENT))',
    to: 'if (this.#replace(word, 0))',
    rung: interleaver('mutex-inconsistent'),
  },
  {
    name: 'a wake-up that a lock did not use is not passed on',
    file: `${SYNC}/mutex/mutex.ts`,
    from: '        if (!isReady) this.passOn()\n',
    to: '',
    rung: interleaver('mutex-try-timeout'),
  },
  {
    name: 'a permit that is left is not passed on',
    file: `${SYNC}/semaphore/semaphore.ts`,
    from: '    if (this.#isAnyFree()) this.#waiters.notifyOne()\n',
    to: '',
    rung: tests('packages/sync/test/semaphore/semaphore.test.ts'),
  },
  {
    name: 'a sweep leaves the last permit',
    file: `${SYNC}/semaphore/semaphore.ts`,
    from: 'cell < cells + permits; cell++',
    to: 'cell < cells + permits - 1; cell++',
    rung: tests('packages/sync/test/semaphore/semaphore.test.ts'),
  },
  {
    name: 'the living are taken for dead',
    file: `${SYNC}/peers/peer-table.ts`,
    from: 'return this.#hasMovedOn(peer) || !this.#liveness',
    to: 'return this.#hasMovedOn(peer) || this.#liveness',
    rung: interleaver('mutex'),
  },
  {
    name: 'generations are not compared',
    file: `${SYNC}/peers/peer-table.ts`,
    from: ' !== slotWord(generationOf(peer), LIVE)\n',
    to: ' % 8 !== LIVE\n',
    rung: tests('packages/sync/test/peers/peer-table.test.ts'),
  },
  {
    name: 'a proof of death does not look again',
    file: `${SYNC}/peers/peer-table.ts`,
    from: ' || this.#hasMovedOn(peer)\n',
    to: '\n',
    rung: tests('packages/sync/test/peers/peer-table.test.ts'),
  },
  {
    name: 'a slot is claimed whose holder looks alive',
    file: `${SYNC}/peers/peer-table.ts`,
    from: 'if (this.#stateOf(slot) === LIVE || !this.#liveness.tryHold(slot)) continue',
    to: 'if (this.#stateOf(slot) > DEAD || !this.#liveness.tryHold(slot)) continue',
    rung: tests('packages/sync/test/peers/peer-table.test.ts'),
  },
  {
    name: 'a slot is claimed without a sweep',
    file: `${SYNC}/peers/peer-table.ts`,
    from: '    try {\n      sweep(peerId(slot, generation))\n    } catch',
    to: '    try {\n      if (generation < 0) sweep(peerId(slot, generation))\n    } catch',
    rung: tests('packages/sync/test/peers/peer-table.test.ts'),
  },
  {
    name: 'a sweep goes on when the slot has its next holder',
    file: `${SYNC}/peers/declared-liveness.ts`,
    from: '    if (!this.#takeOver(base + HOLD_WORD, generation, mark)) return\n',
    to: '    this.#takeOver(base + HOLD_WORD, generation, mark)\n',
    rung: interleaver('peer-reuse'),
  },
  {
    name: 'a reader looks at the mutex before it says that it reads',
    file: `${SYNC}/rw-lock/rw-lock.ts`,
    from: '      Atomics.store(words, this.#ownReader, this.#self)\n    }\n    const writer = Atomics.load(words, this.#writerIndex)\n',
    to: '    }\n    const writer = Atomics.load(words, this.#writerIndex)\n    if (this.#readCount === 0) Atomics.store(words, this.#ownReader, this.#self)\n',
    rung: interleaver('rw-lock'),
    isBrief: true,
  },
  {
    name: 'a reader that leaves does not tell the writer',
    file: `${SYNC}/rw-lock/rw-lock.ts`,
    from: '    if (this.#readCount === 0) this.#drained.notify()\n',
    to: '',
    rung: interleaver('rw-lock'),
  },
  {
    name: 'a member joins without looking again',
    file: `${SYNC}/barrier/barrier.ts`,
    from: '    } while (this.state.phase !== phase)',
    to: '    } while (phase < 0)',
    rung: interleaver('barrier-join-slow'),
  },
  {
    name: 'a join does not count',
    file: `${SYNC}/barrier/barrier.ts`,
    from: '!this.#replacePhase(word, withOneMoreJoin(word))',
    to: '!this.#replacePhase(word, word)',
    rung: interleaver('barrier-join-alone'),
  },
  {
    name: 'the last one to arrive wakes nobody',
    file: `${SYNC}/barrier/barrier.ts`,
    from: '      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue\n      this.#waiters.notifyAll()\n',
    to: '      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue\n',
    rung: interleaver('barrier'),
  },
  {
    name: 'a waiter gives the mutex back before it can be seen',
    file: `${SYNC}/condvar/condvar.ts`,
    from: '      this.#waiters.enterSync()\n      try {\n        guard.unlock()\n',
    to: '      guard.unlock()\n      this.#waiters.enterSync()\n      try {\n',
    rung: interleaver('condvar'),
  },
  {
    name: 'a notify that came too late is not relayed',
    file: `${SYNC}/waiting/wait-set.ts`,
    from: '    if (notifies !== 0 && (notifies !== 1 || !isUsed)) this.relay()\n',
    to: '',
    rung: tests('packages/sync/test/condvar/condvar.test.ts'),
  },
  {
    name: 'the bell of a thread is inherited by its children',
    file: `${POSIX}/waiting/doorbell.ts`,
    from: 'constants.O_NOFOLLOW | O_CLOEXEC',
    to: 'constants.O_NOFOLLOW',
    rung: tests('property-tests/test/descriptor-inheritance.test.ts'),
  },
  {
    name: 'the kernel is asked for the wrong slot',
    file: `${POSIX}/liveness/ofd-liveness.ts`,
    from: 'return isLockedByAnother(this.#fd, slot)',
    to: 'return isLockedByAnother(this.#fd, slot + 1)',
    rung: tests('packages/shm-posix/test/segment/segment.test.ts'),
  },
  {
    name: 'a successor does not say that a message broke off',
    file: `${RING}/spsc/producer.ts`,
    from: '    if (predecessorDied && this.#freeBytes() >= RECORD_HEADER_BYTES) this.#publishAbort()\n',
    to: '',
    rung: killPoints('ring producer: takes over from a dead one inside a large message'),
  },
  {
    name: 'the sweep of a mutex tells nobody of the death',
    file: `${SYNC}/mutex/owner-word.ts`,
    from: 'word !== ABANDONED && this.#replace(word, INCONSISTENT)\n',
    to: 'word !== ABANDONED && this.#replace(word, 0)\n',
    rung: killPoints('mutex: locks and unlocks'),
    isBrief: true,
  },
]
