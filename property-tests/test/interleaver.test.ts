import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import type { Verdict } from '../src/interleaver/verification.js'

/** The interleaver must be able to fail: it is run on built packages in which one thing was broken on purpose. */

const repository = fileURLToPath(new URL('../..', import.meta.url))
const folders: string[] = []

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

interface Fault {
  readonly package: 'sync' | 'ring'
  readonly right: string
  readonly wrong: string
}

/** A copy of the built packages and programs, in which imports find each other, with one fault in it. */
function copyWith(fault?: Fault): string {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-interleaver-'))
  folders.push(folder)
  cpSync(join(repository, 'property-tests/dist'), join(folder, 'dist'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const name of ['sync', 'ring']) {
    const copy = join(folder, 'node_modules/@isthmus', name)
    mkdirSync(copy, { recursive: true })
    cpSync(join(repository, 'packages', name, 'package.json'), join(copy, 'package.json'))
    cpSync(join(repository, 'packages', name, 'dist'), join(copy, 'dist'), { recursive: true })
  }
  if (fault !== undefined) {
    const file = join(folder, 'node_modules/@isthmus', fault.package, 'dist/index.js')
    const text = readFileSync(file, 'utf8')
    expect(text.split(fault.right), `${fault.right} stands in the built package once`).toHaveLength(2)
    writeFileSync(file, text.replace(fault.right, fault.wrong))
  }
  return folder
}

function run(folder: string, ...parameters: string[]): { status: number | null; output: string } {
  const program = join(folder, 'dist/verify-interleave.js')
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

function verdictOf(folder: string, scenario: string, ...options: string[]): Verdict {
  const file = join(folder, 'verdicts.json')
  const { output } = run(folder, '--brief', '--only', `^${scenario}$`, '--json', file, ...options)
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

  it('sees with its reduction whatever agents can see without it', () => {
    const folder = copyWith()
    const reduced = verdictOf(folder, 'event-count-crash', '--histories')
    const plain = verdictOf(folder, 'event-count-crash', '--histories', '--plain', '--preemptions', '30')
    expect(plain.preemptionBound).toBe(30)
    expect(plain.schedules).toBeGreaterThan(5 * reduced.schedules)
    expect(reduced.isExhaustive).toBe(true)
    expect(reduced.histories).toBe(plain.histories)
  })

  it('finds a sleeper that does not say that it waits before it looks again', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'Atomics.store(this.#words, this.#waitingIndex, 1);',
      wrong: '',
    })
    const { failure } = verdictOf(folder, 'event-count')
    expect(failure?.what).toContain('deadlock: sleeper')
    expect(failure?.trace).toMatch(/sleeper +wait +events\.sequence/)
    const again = run(folder, '--replay', failure?.schedule ?? '')
    expect(again.status).toBe(1)
    expect(again.output).toContain('deadlock: sleeper')
  })

  it('finds a notifier that wakes before it has changed the sequence', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'Atomics.add(this.#words, this.#sequenceIndex, 1);\n    this.#region.waiter.wake(this.#sequenceIndex, 1);',
      wrong: 'this.#region.waiter.wake(this.#sequenceIndex, 1);',
    })
    expect(verdictOf(folder, 'event-count').failure?.what).toContain('deadlock: sleeper')
  })

  it('finds a consumer that compares the role with itself, and so misses a close', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'this.#producerRole.word !== this.#judgedRoleWord',
      wrong: 'this.#producerRole.word !== this.#producerRole.word',
    })
    expect(verdictOf(folder, 'spsc-close').failure?.what).toContain('deadlock: consumer')
  })

  it('finds a sweep that goes on when the slot has its next holder', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'if (!this.#takeOver(base + HOLD_WORD, generation, mark)) return;',
      wrong: 'Atomics.compareExchange(this.#words, base + HOLD_WORD, generation, 0);',
    })
    expect(verdictOf(folder, 'peer-reuse').failure?.what).toContain('has taken the cell')
  })

  it('finds a slot that nobody can have after its holder died', () => {
    const folder = copyWith({
      package: 'sync',
      right: 'Atomics.compareExchange(this.#words, base + HOLD_WORD, mark, 0);',
      wrong: '',
    })
    expect(verdictOf(folder, 'peer-reuse').failure?.what).toContain('is lost')
  })

  it('finds a producer that publishes a message before it is written', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'this.bytes.set(bytes, byteOffset);\n    this.commit();',
      wrong: 'this.commit();\n    this.bytes.set(bytes, byteOffset);',
    })
    expect(verdictOf(folder, 'spsc-send-receive').failure?.what).toContain('data race')
  })

  it('finds a consumer that returns space before it has copied the message', () => {
    const folder = copyWith({
      package: 'ring',
      right: 'return this.bytes.slice(start, start + byteLength);',
      wrong: 'this.#returnSpace(); return this.bytes.slice(start, start + byteLength);',
    })
    expect(verdictOf(folder, 'spsc-wrap').failure?.what).toContain('data race')
  })
})
