import { broadcastMutants } from './broadcast-mutants.js'
import { latestMutants } from './latest-mutants.js'
import { mpmcMutants } from './mpmc-mutants.js'
import type { Mutant } from './mutant.js'
import { hostile, interleaver, killPoints, tests } from './rung.js'

const SYNC = 'packages/sync/src'
const RING = 'packages/ring/src'
const POSIX = 'packages/shm-posix/src'

/** Each entry is a mistake that a programmer could make. */
export const mutants: readonly Mutant[] = [
  {
    name: 'a message is published before it is written',
    file: `${RING}/messages/record-writer.ts`,
    from: '      this.bytes.set(bytes, byteOffset)\n      this.commit()\n',
    to: '      this.commit()\n      this.bytes.set(bytes, byteOffset)\n',
    rung: interleaver('spsc-send-receive'),
    isBrief: true,
  },
  {
    name: 'a message that had to wait for space is published before it is written',
    file: `${RING}/messages/record-writer.ts`,
    from: `    this.bytes.set(bytes, this.#beginRecord(this.#claimStart, byteLength, DATA))
    const end = advance(this.#claimStart, recordBytes)
`,
    to: `    const at = this.#beginRecord(this.#claimStart, byteLength, DATA)
    const end = advance(this.#claimStart, recordBytes)
    this.storePosition(end)
    this.bytes.set(bytes, at)
`,
    rung: interleaver('spsc-wrap'),
  },
  {
    name: 'a batch is published before it is written',
    file: `${RING}/messages/record-writer.ts`,
    from: `        target.set(bytes, payloadsByteOffset + index)
        const end = advance(start, recordBytes)
`,
    to: `        const end = advance(start, recordBytes)
        this.storePosition(end)
        target.set(bytes, payloadsByteOffset + index)
`,
    rung: killPoints('ring producer: sends batches, in a blocking call'),
  },
  {
    name: 'space is returned before the message is copied',
    file: `${RING}/spsc/consumer.ts`,
    from: '      const copy = ownCopyOf(this.bytes, start, byteLength, this.attempt)\n',
    to: `      const end = advance(this.#position, recordBytes)
      Atomics.store(this.words, this.#readPositionWord, end)
      this.#producerEvents.notify()
      const copy = ownCopyOf(this.bytes, start, byteLength, this.attempt)
`,
    rung: interleaver('spsc-wrap'),
  },
  {
    name: 'space that was shown is not followed by a wake-up when the consumer rests',
    file: `${RING}/spsc/consumer.ts`,
    from: '    if (this.#notifiedPosition === this.#position) return\n',
    to: '    if (this.#returnedPosition === this.#position) return\n',
    rung: tests('packages/ring/test/spsc/returned-space.test.ts'),
    isBrief: true,
  },
  {
    name: 'space of a batch is returned before the program has the batch',
    file: `${RING}/spsc/consumer.ts`,
    from: '        this.#position = nextPosition\n        position = nextPosition\n      }\n',
    to: '        this.#position = nextPosition\n        position = nextPosition\n        this.#returnSpace()\n      }\n',
    rung: killPoints('ring consumer: receives batches'),
  },
  {
    name: 'a message that does not fit into memory of the program is taken',
    file: `${RING}/spsc/consumer.ts`,
    from: `    const message = partOf(into, byteLength, this.attempt)
    message.set(this.bytes.subarray(start, start + byteLength))
    this.#position = advance(this.#position, recordBytes)
`,
    to: `    this.#position = advance(this.#position, recordBytes)
    const message = partOf(into, byteLength, this.attempt)
    message.set(this.bytes.subarray(start, start + byteLength))
`,
    rung: killPoints('ring consumer: refuses a message that does not fit, then receives it'),
  },
  {
    name: 'space of a message is returned before memory of the program has it',
    file: `${RING}/spsc/consumer.ts`,
    from: `    message.set(this.bytes.subarray(start, start + byteLength))
    this.#position = advance(this.#position, recordBytes)
`,
    to: `    this.#position = advance(this.#position, recordBytes)
    this.#returnSpace()
    message.set(this.bytes.subarray(start, start + byteLength))
`,
    rung: killPoints('ring consumer: refuses a message that does not fit, then receives it'),
  },
  {
    name: 'the consumer compares a role with itself',
    file: `${RING}/role/counterpart.ts`,
    from: '    return this.#role.word !== this.#judgedWord',
    to: '    return this.#role.word !== this.#role.word',
    rung: interleaver('spsc-close'),
  },
  {
    name: 'ABORT is left out',
    file: `${RING}/messages/record-writer.ts`,
    from: '    } finally {\n      if (this.#isMessageUnderWay) this.#publishAbort()',
    to: '    } finally {',
    rung: tests('packages/ring/test/spsc/spsc-ring.property.test.ts', 'large messages'),
  },
  {
    name: 'no space is kept for an ABORT',
    file: `${RING}/messages/record-writer.ts`,
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
    name: 'the length of a record is trusted',
    file: `${RING}/record/layout.ts`,
    from: '  byteLength >>> 0 <= publishedBytes - RECORD_HEADER_BYTES && ',
    to: '  byteLength !== 0 || ',
    rung: hostile('ring/heap/between'),
    isBrief: true,
  },
  {
    name: 'the length of a record that is shown on the event loop is trusted',
    file: `${RING}/spsc/consumer.ts`,
    from: 'fitsRecord(byteLength, distance(this.#writePosition, this.#position), this.#capacityBytes - index) &&',
    to: 'byteLength >= 0 &&',
    rung: hostile('ring/heap/between'),
  },
  {
    name: 'the length of a message is trusted',
    file: `${RING}/record/message-assembly.ts`,
    from: '    if (total > this.#maxMessageBytes) throw this.#tooLarge(total)\n',
    to: '',
    rung: hostile('ring/segment/between'),
  },
  {
    name: 'a fragment may exceed its message',
    file: `${RING}/record/message-assembly.ts`,
    from: ': byteLength > 0 && received < total',
    to: ': byteLength > 0',
    rung: hostile('ring/heap/between'),
  },
  {
    name: 'recovery appends without space',
    file: `${RING}/spsc/recovery.ts`,
    from: '    if (distance(position, readPosition) > capacityBytes - RECORD_HEADER_BYTES) position = lastPosition\n',
    to: '',
    rung: hostile('recovery/heap/between'),
  },
  {
    name: 'a slot number is trusted',
    file: `${SYNC}/peers/declared-liveness.ts`,
    from: 'const isNobody = sweeper >= MAX_PEERS',
    to: 'const isNobody = false',
    rung: hostile('peers/heap/between'),
  },
  {
    name: 'a sweep of a barrier takes a member word from any slot',
    file: `${SYNC}/barrier/barrier-words.ts`,
    from: 'const member = Atomics.load(this.#words, this.#firstMember + slotOf(deadPeer))',
    to: 'const member = this.members().find((word) => peerOfMember(word) === deadPeer) ?? NO_MEMBER',
    rung: hostile('barrier-break/heap/between'),
  },
  {
    name: 'a timeout is ignored',
    file: `${SYNC}/waiting/wait-point.ts`,
    from: '      if (startedMs >= deadline) return false\n',
    to: '',
    rung: hostile('mutex/heap/between'),
  },
  {
    name: 'an event count marks its sleeper after the last poll',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    const sequence = this.#register(self)\n    try {\n      if (pollArmed(condition)) return true\n',
    to: '    const sequence = Atomics.load(this.#words, this.#sequenceIndex)\n    try {\n      if (pollArmed(condition)) return true\n      Atomics.store(this.#words, this.#sleeperIndex, this.region.peers.self)\n',
    rung: interleaver('event-count'),
    isBrief: true,
  },
  {
    name: 'an event count wakes without a new sequence',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1) + 1\n',
    to: '    const sequence = Atomics.load(this.#words, this.#sequenceIndex) + 1\n',
    rung: interleaver('event-count'),
  },
  {
    name: 'a sleeper registers again, and its notifier does not see it',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    return (Atomics.add(this.#words, this.#sequenceIndex, 1) + 1) | 0\n',
    to: '    return Atomics.load(this.#words, this.#sequenceIndex)\n',
    rung: interleaver('wake-up'),
    isBrief: true,
  },
  {
    name: 'an event loop that is woken in vain does not change the sequence',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '  renew(): void {\n    // SYNC registration visible to an earlier notifier\n    Atomics.add(this.#words, this.#sequenceIndex, 1)\n',
    to: '  renew(): void {\n    // SYNC registration visible to an earlier notifier\n',
    rung: interleaver('wake-up'),
  },
  {
    name: 'a notifier remembers a wake-up of the sleeper of before',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1) + 1\n    // Loaded now: what is remembered below must be a wake-up of the sleeper that had registered by then.\n    const sleeper = Atomics.load(this.#words, this.#sleeperIndex)\n',
    to: '    const sleeper = Atomics.load(this.#words, this.#sleeperIndex)\n    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1) + 1\n',
    rung: interleaver('stale-sleeper-thread'),
  },
  {
    name: 'an event loop that is woken in vain does not register again',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    this.#register()\n  }\n\n  renew(): void {\n    this.#register()\n  }\n',
    to: '    this.#register()\n  }\n\n  renew(): void {}\n',
    rung: tests('packages/sync/test/waiting/waiter-set.test.ts'),
  },
  {
    name: 'an event count does not wake an event loop',
    file: `${SYNC}/waiting/event-count.ts`,
    from: '    else if (!this.wakeLoop((sleeper & PEER_MASK) as PeerId)) return\n',
    to: '',
    rung: interleaver('wake-up'),
  },
  {
    name: 'the hint of a wake-up is stored after the wake-up',
    file: `${SYNC}/heap/heap-waiter.ts`,
    from: '      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))\n    }\n    Atomics.add(this.#words, wakeWord, 1)\n    return Atomics.notify(this.#words, wakeWord) > 0\n',
    to: '      Atomics.add(this.#words, wakeWord, 1)\n      Atomics.notify(this.#words, wakeWord)\n      Atomics.or(this.#words, hints + (bit >> 5), 1 << (bit & 31))\n    }\n    return true\n',
    rung: interleaver('wake-up'),
  },
  {
    name: 'a waiter set sets its bit after the last poll',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    this.enterSync()\n    try {\n      if (pollArmed(condition)) return true\n',
    to: '    const isReady = pollArmed(condition)\n    this.enterSync()\n    try {\n      if (isReady) return true\n',
    rung: interleaver('futex'),
  },
  {
    name: 'a waiter set says after the last poll that a peer may sleep',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    this.enterSync()\n    try {\n      if (pollArmed(condition)) return true\n',
    to: '    this.#waiting.set(this.region.peers.self)\n    const isReady = pollArmed(condition)\n    this.enterSync()\n    try {\n      if (isReady) return true\n',
    rung: interleaver('waiter-set-notifiers'),
  },
  {
    name: 'a notifier that finds no bit clears the mark of a sleeper that has registered since',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    Atomics.compareExchange(this.#words, this.#registrationsIndex, registrations, registrations & ~MAY_SLEEP)\n',
    to: '    Atomics.and(this.#words, this.#registrationsIndex, ~MAY_SLEEP)\n',
    rung: interleaver('waiter-set-notifiers'),
    isBrief: true,
  },
  {
    name: 'a registration in a waiter set is not counted',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: 'const before = Atomics.add(this.#words, this.#registrationsIndex, REGISTRATION)\n',
    to: 'const before = Atomics.load(this.#words, this.#registrationsIndex)\n',
    rung: interleaver('waiter-set-notifiers'),
  },
  {
    name: 'a sleeper relies on a mark that it saw before it was counted',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: 'const before = Atomics.add(this.#words, this.#registrationsIndex, REGISTRATION)\n',
    to: 'const before = Atomics.load(this.#words, this.#registrationsIndex)\n    Atomics.add(this.#words, this.#registrationsIndex, REGISTRATION)\n',
    rung: interleaver('waiter-set-notifiers'),
  },
  {
    name: 'a sleeper registers before its bit is set',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: `    if (this.#blockedDepth++ === 0 && this.#armedCount === 0) this.#waiting.set(this.region.peers.self)
    this.#register()
`,
    to: `    this.#register()
    if (this.#blockedDepth++ === 0 && this.#armedCount === 0) this.#waiting.set(this.region.peers.self)
`,
    rung: interleaver('waiter-set-notifiers'),
  },
  {
    name: 'a sleeper does not say that it may sleep',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    if ((before & MAY_SLEEP) === 0) Atomics.or(this.#words, this.#registrationsIndex, MAY_SLEEP)\n',
    to: '    if (before < 0) Atomics.or(this.#words, this.#registrationsIndex, MAY_SLEEP)\n',
    rung: interleaver('waiter-set'),
  },
  {
    name: 'a waiter set wakes without a new sequence',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1)\n    const woken',
    to: '    const sequence = Atomics.load(this.#words, this.#sequenceIndex)\n    const woken',
    rung: interleaver('semaphore'),
  },
  {
    name: 'an unlock wakes no waiter',
    file: `${SYNC}/mutex/mutex.ts`,
    from: '    if (isAwaited) this.#waiters.notifyOne()\n',
    to: '',
    rung: interleaver('mutex'),
    isBrief: true,
  },
  {
    name: 'a waiter that slept takes a mutex without CONTENDED',
    file: `${SYNC}/mutex/mutex.ts`,
    from: 'this.#take(attempt.guard, attempt.hasSlept ? CONTENDED : 0)',
    to: 'this.#take(attempt.guard, 0)',
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
    name: 'a wake-up that a lock did not use is not handed off',
    file: `${SYNC}/mutex/mutex.ts`,
    from: '        if (!isReady) this.handOffWakeup()\n',
    to: '',
    rung: interleaver('mutex-try-timeout'),
  },
  {
    name: 'a wake-up for a permit that is left is not handed off',
    file: `${SYNC}/semaphore/semaphore.ts`,
    from: '    if (this.#cells.isAnyFree) this.#waiters.notifyOne()\n',
    to: '',
    rung: tests('packages/sync/test/semaphore/semaphore.test.ts'),
  },
  {
    name: 'a sweep does not free the last permit',
    file: `${SYNC}/region/owned-cells.ts`,
    from: 'cell < this.count; cell++) {\n      if (this.free(cell, deadPeer)) wakeWaiter()',
    to: 'cell < this.count - 1; cell++) {\n      if (this.free(cell, deadPeer)) wakeWaiter()',
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
    name: 'a proof of death does not check the generation again',
    file: `${SYNC}/peers/peer-table.ts`,
    from: ' || this.#hasMovedOn(peer)\n',
    to: '\n',
    rung: tests('packages/sync/test/peers/peer-table.test.ts'),
  },
  {
    name: 'a slot whose state is LIVE is claimed',
    file: `${SYNC}/peers/peer-table.ts`,
    from: 'if (this.#stateOf(slot) === LIVE || !this.#liveness.tryAcquire(slot)) continue',
    to: 'if (this.#stateOf(slot) > DEAD || !this.#liveness.tryAcquire(slot)) continue',
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
    from: '    if (!this.#takeOver(base + LEASE_WORD, generation, mark)) return\n',
    to: '    this.#takeOver(base + LEASE_WORD, generation, mark)\n',
    rung: interleaver('peer-reuse'),
  },
  {
    name: 'a reader checks the mutex before it announces itself',
    file: `${SYNC}/rw-lock/rw-lock.ts`,
    from: '      Atomics.store(words, this.#ownReader, this.#self)\n    }\n    const writer = Atomics.load(words, this.#writerIndex)\n',
    to: '    }\n    const writer = Atomics.load(words, this.#writerIndex)\n    if (this.#readCount === 0) Atomics.store(words, this.#ownReader, this.#self)\n',
    rung: interleaver('rw-lock'),
    isBrief: true,
  },
  {
    name: 'a reader that leaves does not notify the writer',
    file: `${SYNC}/rw-lock/rw-lock.ts`,
    from: '    if (this.#readCount === 0) this.#drained.notify()\n',
    to: '',
    rung: interleaver('rw-lock'),
  },
  {
    name: 'a member joins without checking the phase again',
    file: `${SYNC}/barrier/barrier-words.ts`,
    from: '    } while (this.state.phase !== phase)',
    to: '    } while (phase < 0)',
    rung: interleaver('barrier-join-slow'),
  },
  {
    name: 'a join does not count',
    file: `${SYNC}/barrier/barrier-words.ts`,
    from: '!this.#replacePhase(word, withOneMoreJoin(word))',
    to: '!this.#replacePhase(word, word)',
    rung: interleaver('barrier-join-alone'),
  },
  {
    name: 'the last member to arrive wakes no waiter',
    file: `${SYNC}/barrier/barrier-words.ts`,
    from: '      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue\n      this.waiters.notifyAll()\n',
    to: '      if (!this.#replacePhase(word, withPhase(word, followingPhase(phase)))) continue\n',
    rung: interleaver('barrier'),
  },
  {
    name: 'a waiter releases the mutex before its bit is set',
    file: `${SYNC}/condvar/condvar.ts`,
    from: '      this.#waiters.enterSync()\n      try {\n        guard.unlock()\n',
    to: '      guard.unlock()\n      this.#waiters.enterSync()\n      try {\n',
    rung: interleaver('condvar'),
  },
  {
    name: 'a notification that came too late is not relayed',
    file: `${SYNC}/waiting/waiter-set.ts`,
    from: '    if (notifies !== 0 && (notifies !== 1 || !isUsed)) this.relay()\n',
    to: '',
    rung: tests('packages/sync/test/condvar/condvar.test.ts'),
  },
  {
    name: 'the wake-up FIFO of a thread is inherited by its children',
    file: `${POSIX}/native/raw-descriptor.ts`,
    from: 'libc().open(path, flags | O_CLOEXEC)',
    to: 'libc().open(path, flags)',
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
    name: 'a successor does not publish ABORT after an unfinished message',
    file: `${RING}/spsc/producer.ts`,
    from: 'this.begin((freeBytes) => predecessorDied && freeBytes >= RECORD_HEADER_BYTES)',
    to: 'this.begin(() => false)',
    rung: killPoints('ring producer: takes over from a dead one inside a large message'),
  },
  {
    name: 'the sweep of a mutex does not mark it inconsistent',
    file: `${SYNC}/mutex/owner-word.ts`,
    from: 'word !== ABANDONED && this.#replace(word, INCONSISTENT)\n',
    to: 'word !== ABANDONED && this.#replace(word, 0)\n',
    rung: killPoints('mutex: locks and unlocks'),
    isBrief: true,
  },
  ...latestMutants,
  ...broadcastMutants,
  ...mpmcMutants,
]
