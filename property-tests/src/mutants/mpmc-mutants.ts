import type { Mutant } from './mutant.js'
import { interleaver, killPoints, tests } from './rung.js'

const MPMC = 'packages/ring/src/mpmc'

/** Mistakes in the MPMC queue. Its steps are numbered in its layout.ts. */
export const mpmcMutants: readonly Mutant[] = [
  {
    name: 'T3 is left out: a receiver does not compare positions',
    file: `${MPMC}/slots.ts`,
    from: 'if ((cell & PUSHABLE) !== 0 && words[cellWord + POSITION_WORD] === position) {',
    to: 'if ((cell & PUSHABLE) !== 0) {',
    rung: interleaver('mpmc-1p2c'),
  },
  {
    name: 'T3 is left out: a receiver does not compare lanes',
    file: `${MPMC}/slots.ts`,
    from: '          if (!this.#hasSiblings || this.#isOfThisLane(cellWord, position)) {\n            const held',
    to: '          {\n            const held',
    rung: interleaver('mpmc-lane-change'),
  },
  {
    name: 'T3 compares the position before the lane, and not after it',
    file: `${MPMC}/slots.ts`,
    from: '    if (Atomics.load(words, cellWord + POSITION_WORD) !== position) return false\n',
    to: '',
    rung: interleaver('mpmc-lane-ended'),
  },
  {
    name: 'a block keeps its position when it gets another lane',
    file: `${MPMC}/slots.ts`,
    from: '    if (this.#hasSiblings) this.#words[cellWord + POSITION_WORD] = this.awayPosition\n',
    to: '',
    rung: interleaver('mpmc-lane-ended'),
  },
  {
    name: 'T4 takes a block that was taken and pushed again meanwhile',
    file: `${MPMC}/slots.ts`,
    from: `            const held = sameInstance(cell, hold)
            if (Atomics.compareExchange(words, cellWord, cell, held) === cell) {
`,
    to: `            const now = Atomics.load(words, cellWord)
            const held = sameInstance(now, hold)
            if ((now & PUSHABLE) !== 0 && Atomics.compareExchange(words, cellWord, now, held) === now) {
`,
    rung: interleaver('mpmc-1p2c'),
  },
  {
    name: 'T6 is left out: a block that is freed keeps its position',
    file: `${MPMC}/receiver.ts`,
    from: '    words[cellWord + POSITION_WORD] = slots.takenPosition ^ -0x80000000\n',
    to: '',
    rung: interleaver('mpmc-1p2c'),
    isBrief: true,
  },
  {
    name: 'T6 comes after T7: a block is free before its position is away',
    file: `${MPMC}/receiver.ts`,
    from: `    words[cellWord + POSITION_WORD] = slots.takenPosition ^ -0x80000000
    // SYNC block handed over
    Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK)
`,
    to: `    // SYNC block handed over
    Atomics.compareExchange(words, cellWord, cell, cell & ~HOLD_MASK)
    words[cellWord + POSITION_WORD] = slots.takenPosition ^ -0x80000000
`,
    rung: interleaver('mpmc-1p2c'),
  },
  {
    name: 'P2 comes after P3: a block is pushed before it has its position',
    file: `${MPMC}/slots.ts`,
    from: `        words[positionWord] = position
        const pushed = ((position + count) & lapMask) | block
        // SYNC message visible to receiver: its bytes, length, kind and position
        if (Atomics.compareExchange(words, slot, word, pushed) === word) {
`,
    to: `        const pushed = ((position + count) & lapMask) | block
        // SYNC message visible to receiver: its bytes, length, kind and position
        if (Atomics.compareExchange(words, slot, word, pushed) === word) {
          words[positionWord] = position
`,
    rung: interleaver('mpmc-2p1c'),
  },
  {
    name: 'the tail hint is raised before P3',
    file: `${MPMC}/slots.ts`,
    from: '        const pushed = ((position + count) & lapMask) | block\n        // SYNC message visible to receiver: its bytes,',
    to: '        this.#raise(this.#tailWord, (position + 1) | 0)\n        const pushed = ((position + count) & lapMask) | block\n        // SYNC message visible to receiver: its bytes,',
    rung: interleaver('mpmc-2p1c'),
  },
  {
    name: 'A2 keeps the seq of a block',
    file: `${MPMC}/block-table.ts`,
    from: 'const owned = nextInstance(cell, this.#owned)',
    to: 'const owned = sameInstance(cell, this.#owned)',
    rung: interleaver('mpmc-1p2c'),
  },
  {
    name: 'S2 is left out: a sweep frees what a dead sender had sent',
    file: `${MPMC}/sweep.ts`,
    from: '      if (lane?.isPushed(block)) return UNCHANGED\n',
    to: '',
    rung: interleaver('mpmc-crash-producer'),
  },
  {
    name: 'R3 keeps the seq of a block',
    file: `${MPMC}/queue-side.ts`,
    from: 'const returning = nextInstance(cell, RETURNING | slotOf(this.self))',
    to: 'const returning = sameInstance(cell, RETURNING | slotOf(this.self))',
    rung: interleaver('mpmc-requeue'),
  },
  {
    name: 'a lane has as many slots as there are blocks',
    file: `${MPMC}/layout.ts`,
    from: 'Math.max(SLOTS_MIN, blocks + 1)',
    to: 'Math.max(SLOTS_MIN, blocks)',
    rung: tests('packages/ring/test/mpmc/slots.test.ts'),
  },
  {
    name: 'a message that was pushed wakes no receiver',
    file: `${MPMC}/sender.ts`,
    from: '    try {\n      this.#messages.notifyOne()\n',
    to: '    try {\n',
    rung: interleaver('mpmc-two-sleepers'),
  },
  {
    name: 'a block that was freed wakes no sender',
    file: `${MPMC}/receiver.ts`,
    from: '      else this.#space.notifyOne()\n',
    to: '',
    rung: interleaver('mpmc-full-and-free'),
  },
  {
    name: 'a reserved block wakes one sender, which may not use it',
    file: `${MPMC}/receiver.ts`,
    from: '      if (block >= this.#reservedFrom) this.#space.notifyAll()\n      else this.#space.notifyOne()\n',
    to: '      this.#space.notifyOne()\n',
    rung: interleaver('mpmc-reserved-wake'),
  },
  {
    name: 'the lowest priority comes first',
    file: `${MPMC}/receiver.ts`,
    from: 'this.#highest = lanes[lanes.length - 1]',
    to: 'this.#highest = lanes[0]',
    rung: interleaver('mpmc-lanes'),
  },
  {
    name: 'R2 is left out: a block that is pushed again keeps its position',
    file: `${MPMC}/queue-side.ts`,
    from: '    words[cellWord + POSITION_WORD] = lane.awayPosition\n',
    to: '',
    rung: interleaver('mpmc-requeue'),
  },
  {
    name: 'R2 is left out for what a dead receiver had',
    file: `${MPMC}/queue-side.ts`,
    from: '    words[cellWord + POSITION_WORD] = lane.awayPosition\n',
    to: '',
    rung: interleaver('mpmc-crash-consumer-again'),
  },
  {
    name: 'R4 is left out: what is put back after the end stays with its holder',
    file: `${MPMC}/queue-side.ts`,
    from: '      if (!isPushed) Atomics.compareExchange(words, cellWord, returning, nextInstance(returning, ORPHAN))\n',
    to: '',
    rung: interleaver('mpmc-end-vs-requeue'),
  },
  {
    name: 'a block that is freed after a death keeps its position',
    file: `${MPMC}/queue-side.ts`,
    from: '    words[cellWord + POSITION_WORD] = position\n',
    to: '',
    rung: interleaver('mpmc-drop'),
  },
  {
    name: 'a sweep loads the cell after it knows who lives',
    file: `${MPMC}/sweep.ts`,
    from: '  sweep(block: number, cell: number): number {\n    const cellWord = this.#firstCell + block * this.#stride\n',
    to: '  sweep(block: number, before: number): number {\n    const cellWord = this.#firstCell + block * this.#stride\n    const cell = Atomics.load(this.#words, cellWord)\n    if (slotOfCell(cell) !== slotOfCell(before)) return UNCHANGED\n',
    rung: interleaver('mpmc-slot-leaver'),
  },
  {
    name: 'a receiver is told of the end while another one has a message',
    file: `${MPMC}/receiver.ts`,
    from: '      if (state === HELD && slotOfCell(cell) !== ownSlot) this.#isAnyHeld = true\n',
    to: '',
    rung: interleaver('mpmc-end-crash'),
  },
  {
    name: 'a receiver is told of the end although a message has moved to another block',
    file: `${MPMC}/receiver.ts`,
    from: 'if (this.#isAnyHeld || this.#side.orphansLeft !== this.#orphansLeft) return false',
    to: 'if (this.#isAnyHeld) return false',
    rung: interleaver('mpmc-end-packed'),
  },
  {
    name: 'reopen does not say that orphans may be pushed again',
    file: `${MPMC}/mpmc-queue.ts`,
    from: '    if (hadEnded) side.tellOrphans()\n',
    to: '',
    rung: interleaver('mpmc-reopen'),
  },
  {
    name: 'a receiver does not say what of a packed block is acknowledged',
    file: `${MPMC}/pack.ts`,
    from: '    this.#side.words[this.#cellWord + DONE_WORD] = this.#settledCount\n',
    to: '',
    rung: interleaver('mpmc-packed-crash-again'),
  },
  {
    name: 'a release of a loan wakes no sender',
    file: `${MPMC}/queue-side.ts`,
    from: '      this.noteFree(block)\n      // Receivers that wait at the end',
    to: '      // Receivers that wait at the end',
    rung: interleaver('mpmc-acknowledge-full'),
  },
  {
    name: 'the lowest lane comes first in a queue of several lanes',
    file: `${MPMC}/receiver.ts`,
    from: '      const lane = isLowestFirst ? step : top - step\n',
    to: '      const lane = step\n',
    rung: interleaver('mpmc-fairness'),
  },
  {
    name: 'a fair receiver never gets the message of the lowest priority first',
    file: `${MPMC}/receiver.ts`,
    from: 'const isLowestFirst = this.#fairness > 0 && this.#streak >= this.#fairness',
    to: 'const isLowestFirst = false',
    rung: interleaver('mpmc-fairness'),
  },
  {
    name: 'a recovered queue keeps messages that do not stand at their position',
    file: `${MPMC}/recovery.ts`,
    from: '        words[cellWord + POSITION_WORD] === position &&\n',
    to: '',
    rung: interleaver('mpmc-recover'),
  },
  {
    name: 'a recovered queue does not free what a peer had',
    file: `${MPMC}/recovery.ts`,
    from: '    words[cellWord] = nextInstance(words[cellWord], FREE)\n',
    to: '',
    rung: interleaver('mpmc-recover'),
  },
  {
    name: 'a receiver that leaves a pipe does not look again whether its sender has left it',
    file: `${MPMC}/pipe-receiver.ts`,
    from: '    if (found === cell) side.adoptPipe(block)\n',
    to: '    if (found === cell) return\n',
    rung: interleaver('mpmc-pipe-skipped'),
  },
  {
    name: 'a sender that leaves a pipe does not look whether its receiver has left it',
    file: `${MPMC}/pipe-sender.ts`,
    from: '    this.#side.adoptPipe(pipe.block)\n',
    to: '',
    rung: interleaver('mpmc-pipe-skipped'),
  },
  {
    name: 'a receiver of a pipe wakes its sender after it has given the block away',
    file: `${MPMC}/pipe-receiver.ts`,
    from: '    if (found === cell) side.adoptPipe(block)\n',
    to: '    notifySafely(this.#pipe.senderEvents)\n    if (found === cell) side.adoptPipe(block)\n',
    rung: interleaver('mpmc-pipe-skipped'),
  },
  {
    name: 'a receiver of a pipe looks for bytes before it knows whether its sender is over',
    file: `${MPMC}/pipe-receiver.ts`,
    from: '      const isOver = this.#isSenderOver\n      publishedBytes = this.#publishedBytes()\n',
    to: '      publishedBytes = this.#publishedBytes()\n      const isOver = this.#isSenderOver\n',
    rung: interleaver('mpmc-pipe'),
  },
  {
    name: 'a sender that aborts a pipe does not wake its receiver',
    file: `${MPMC}/pipe-sender.ts`,
    from: '      pipe.mark(SENDER_ABORTED)\n      notifySafely(pipe.receiverEvents)\n',
    to: '      pipe.mark(SENDER_ABORTED)\n',
    rung: interleaver('mpmc-pipe'),
  },
  {
    name: 'R2 is left out: a pipe that is sent again keeps its position',
    file: `${MPMC}/pipe-sender.ts`,
    from: '    words[cellWord + POSITION_WORD] = lane.awayPosition\n',
    to: '',
    rung: interleaver('mpmc-pipe-again'),
  },
  {
    name: 'a sender of a pipe does not poll for the block that its receiver is giving away',
    file: `${MPMC}/pipe-sender.ts`,
    from: 'return this.#isReceiverLeaving ? Math.min(deadline, nowMs() + LEAVING_MS) : deadline',
    to: 'return deadline',
    rung: interleaver('mpmc-pipe-left'),
  },
  {
    name: 'a sender of a pipe waits on when its receiver is about to give the block away',
    file: `${MPMC}/pipe-sender.ts`,
    from: 'return !this.#side.geometry.isAtLeastOnce || !this.#isReceiverLeaving',
    to: 'return !this.#side.geometry.isAtLeastOnce',
    rung: interleaver('mpmc-pipe-left'),
  },
  {
    name: 'a sender of a pipe loads the marks before it sees that the block is an orphan',
    file: `${MPMC}/pipe-sender.ts`,
    from: '    const isOrphan = pipe.cell === this.#orphan\n    const lease = pipe.lease\n',
    to: '    const lease = pipe.lease\n    const isOrphan = pipe.cell === this.#orphan\n',
    rung: interleaver('mpmc-pipe-timed-out'),
  },
  {
    name: 'any peer adopts the pipe of a sender that is at work',
    file: `${MPMC}/queue-side.ts`,
    from: '    if (isPipe && isSenderAtWork(this.words, this.cellWordOf(block), this.region, proves)) return\n',
    to: '',
    rung: interleaver('mpmc-pipe-left'),
  },
  {
    name: 'a sender that sends a pipe again sets back the sequences of its event counts',
    file: `${MPMC}/pipe-sender.ts`,
    from: '    receiverEvents.reset()\n    senderEvents.reset()\n',
    to: '    receiverEvents.reset()\n    senderEvents.reset()\n    words.fill(0, writeWord, this.#pipe.bytesOffset / 4)\n',
    rung: tests('packages/ring/test/mpmc/pipe.test.ts', 'keeps the sequences'),
  },
  {
    name: 'a receiver leaves a pipe before its own wait there has ended',
    file: `${MPMC}/pipe-receiver.ts`,
    from: '    this.#pipe.receiverEvents.pollOwnWaits()\n',
    to: '',
    rung: tests('packages/ring/test/mpmc/pipe.test.ts', 'is left after the own waits'),
  },
  {
    name: 'at most once, a large message is sent although its receiver had given it up',
    file: `${MPMC}/pipe-sender.ts`,
    from: '    if ((marks & (RECEIVER_DONE | RECEIVER_LEFT)) === RECEIVER_LEFT) throw this.#endOfReceiver(true, receivedBytes)\n',
    to: '    if (marks < 0) throw this.#endOfReceiver(true, receivedBytes)\n',
    rung: killPoints('queue pipe: sends a large message, at most once'),
  },
  {
    name: 'a receiver leaves a pipe without asking for room on the stack',
    file: `${MPMC}/pipe-receiver.ts`,
    from: '    // If it throws, it has not begun.\n    assertRoomForPipe()\n',
    to: '',
    rung: tests('packages/ring/test/mpmc/pipe-stack-edge.test.ts'),
  },
]
