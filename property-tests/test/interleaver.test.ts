import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Verdict } from '../src/interleaver/verification.js'
import { copyWith } from './support/package-copies.js'

/**
 * The interleaver must be able to fail: these tests run it on built packages in which one step is broken on purpose.
 */

function run(folder: string, ...parameters: string[]): { status: number | null; output: string } {
  const program = join(folder, 'dist/verify-interleave.js')
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

/** In more time than --brief gives: a busy machine must come as far. A search ends with the first failure. */
function verdictOf(folder: string, scenario: string, ...options: string[]): Verdict {
  const file = join(folder, 'verdicts.json')
  const { output } = run(folder, '--brief', '--seconds', '10', '--only', `^${scenario}$`, '--json', file, ...options)
  const [verdict] = JSON.parse(readFileSync(file, 'utf8')) as Verdict[]
  expect(verdict, output).toBeDefined()
  return verdict
}

describe('The interleaver', { timeout: 120_000 }, () => {
  it('finds nothing wrong with the packages as they are', () => {
    const verdict = verdictOf(copyWith(), 'event-count')
    expect(verdict.failure).toBeUndefined()
    expect(verdict.isExhaustive).toBe(true)
    expect(verdict.schedules).toBeGreaterThan(100)
  })

  it.each(['event-count-crash', 'event-count-timeout'])(
    'loses no history of the agents to its reduction: %s',
    (name) => {
      const folder = copyWith()
      // Both searches must come to their end.
      const options = ['--histories', '--seconds', '40']
      const reduced = verdictOf(folder, name, ...options)
      const plain = verdictOf(folder, name, ...options, '--plain', '--preemptions', '30')
      expect(plain.preemptionBound).toBe(30)
      expect(plain.schedules).toBeGreaterThan(3 * reduced.schedules)
      expect(reduced.isExhaustive).toBe(true)
      expect(reduced.histories).toBe(plain.histories)
    },
  )

  it('finds a sleeper that is not marked before it polls again', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'Atomics.store(this.#words, this.#sleeperIndex, sleeper);',
      wrong: '',
    })
    const { failure } = verdictOf(folder, 'event-count')
    expect(failure?.what).toContain('deadlock: sleeper')
    expect(failure?.trace).toMatch(/sleeper +wait +events\.sequence/)
    const again = run(folder, '--replay', failure?.schedule ?? '')
    expect(again.status).toBe(1)
    expect(again.output).toContain('deadlock: sleeper')
  })

  it('finds a notifier that wakes without changing the sequence', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'const sequence = Atomics.add(this.#words, this.#sequenceIndex, 1) + 1;',
      wrong: 'const sequence = Atomics.load(this.#words, this.#sequenceIndex) + 1;',
    })
    expect(verdictOf(folder, 'event-count').failure?.what).toContain('deadlock: sleeper')
  })

  it('finds a consumer that misses a close because it compares the role with itself', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'return this.#role.word !== this.#judgedWord',
      wrong: 'return this.#role.word !== this.#role.word',
    })
    expect(verdictOf(folder, 'spsc-close').failure?.what).toContain('deadlock: consumer')
  })

  it('finds a sweep that goes on when the slot has its next holder', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'if (!this.#takeOver(base + LEASE_WORD, generation, mark)) return;',
      wrong: 'Atomics.compareExchange(this.#words, base + LEASE_WORD, generation, 0);',
    })
    expect(verdictOf(folder, 'peer-reuse').failure?.what).toContain('has taken the cell')
  })

  it('finds a slot that no peer can claim after its holder died', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'Atomics.compareExchange(this.#words, base + LEASE_WORD, mark, 0);',
      wrong: '',
    })
    expect(verdictOf(folder, 'peer-reuse').failure?.what).toContain('is lost')
  })

  it('finds a producer that publishes a message before it is written', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'this.bytes.set(bytes, byteOffset);\n      this.commit();',
      wrong: 'this.commit();\n      this.bytes.set(bytes, byteOffset);',
    })
    expect(verdictOf(folder, 'spsc-send-receive').failure?.what).toContain('data race')
  })

  it('finds a consumer that returns space before it has copied the message', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'const copy = ownCopyOf(this.bytes, start, byteLength, this.attempt);',
      wrong:
        'Atomics.store(this.words, this.#readPositionWord, advance(this.#position, recordBytes));\n      this.#producerEvents.notify();\n      const copy = ownCopyOf(this.bytes, start, byteLength, this.attempt);',
    })
    expect(verdictOf(folder, 'spsc-wrap').failure?.what).toContain('data race')
  })

  const faultsInLocks: [what: string, right: string, wrong: string, scenario: string, told: string | RegExp][] = [
    [
      'a mutex whose waiter does not set CONTENDED before it sleeps',
      'attempt.isGranted = this.#takeOrMark(attempt.guard);',
      'attempt.isGranted = this.#take(attempt.guard, CONTENDED);',
      'mutex',
      'deadlock',
    ],
    [
      'a mutex whose owner ignores CONTENDED when it unlocks',
      'if (isAwaited) this.#waiters.notifyOne();',
      '',
      'mutex',
      'deadlock',
    ],
    [
      'a mutex whose waiter gives up and keeps the wake-up',
      'if (!isReady) this.handOffWakeup();',
      '',
      'mutex-try-timeout',
      'deadlock',
    ],
    [
      'a mutex that loses INCONSISTENT',
      'if (this.#replace(word, word & INCONSISTENT))',
      'if (this.#replace(word, 0))',
      'mutex-inconsistent',
      'told: true,false,false',
    ],
    [
      'a mutex that is consistent after its owner died',
      'isDead(owner)) return false;\n    return this.#replace(word, INCONSISTENT);',
      'isDead(owner)) return false;\n    return this.#replace(word, 0);',
      'mutex-crash',
      /half done|not told/,
    ],
    [
      'a waiter set that sets its bit after the last poll',
      'this.enterSync();\n    try {\n      if (pollArmed(condition)) return true;',
      'if (pollArmed(condition)) return true;\n    this.enterSync();\n    try {',
      'futex',
      'deadlock: sleeper',
    ],
    [
      'a condition variable that sets its bit after it has unlocked',
      'this.#waiters.enterSync();\n      try {\n        guard.unlock();',
      'guard.unlock();\n      this.#waiters.enterSync();\n      try {',
      'condvar',
      'deadlock: receiver',
    ],
    [
      'a semaphore that releases permits without a wake-up',
      'permit.holdCount = 0;\n    this.#waiters.notifyOne();',
      'permit.holdCount = 0;',
      'semaphore',
      'deadlock',
    ],
    [
      'a reader that checks for a writer before it announces itself',
      'Atomics.store(words2, this.#ownReader, this.#self);\n    }\n    const writer = Atomics.load(words2, this.#writerIndex);',
      '}\n    const writer = Atomics.load(words2, this.#writerIndex);\n    if (this.#readCount === 0) Atomics.store(words2, this.#ownReader, this.#self);',
      'rw-lock',
      'data race',
    ],
    [
      'a barrier whose member leaves and does not end the phase',
      'Atomics.store(this.#words, this.#ownIndex(), NO_MEMBER);\n    this.endPhaseIfComplete();',
      'Atomics.store(this.#words, this.#ownIndex(), NO_MEMBER);',
      'barrier-leave',
      'deadlock: stays',
    ],
    [
      'an event loop whose bit is not set',
      'this.#awaiting.set(this.region.peers.self);',
      '',
      'wake-up-mixed',
      'deadlock: loop',
    ],
    [
      'a pending wait that does not poll once it is armed',
      'this.#watch(this.waits);\n    if (!this.#settleIf(({ condition }) => pollArmed(condition))) this.#planTick();',
      'this.#watch(this.waits);\n    this.#planTick();',
      'wake-up',
      'deadlock: loop',
    ],
    [
      'an event loop that listens only after it has polled',
      'this.listen();\n      this.#pollAsHinted();',
      'this.#pollAsHinted();\n      this.listen();',
      'wake-up',
      'deadlock: loop',
    ],
    [
      'a wait that takes away the mark of another one of its loop',
      'if (--this.#armedCount === 0) this.#clear',
      'if (--this.#armedCount >= 0) this.#clear',
      'wake-up-two-waits',
      'deadlock: loop',
    ],
    ['a tick that polls nothing', 'this.#reapDeadOf(due);', '', 'wake-up-crash', 'deadlock: loop'],
  ]

  it.each(faultsInLocks)('finds %s', (_, right, wrong, scenario, told) => {
    const folder = copyWith({ package: 'sync', right, wrong })
    expect(verdictOf(folder, scenario).failure?.what).toMatch(told)
  })
})
