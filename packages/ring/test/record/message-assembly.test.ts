import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { IncompleteMessageError } from '../../src/index.js'
import { ABORT, DATA, FIRST, kindWord, LAST, MIDDLE, PADDING, TOTAL_LENGTH_BYTES } from '../../src/record/layout.js'
import { MessageAssembly } from '../../src/record/message-assembly.js'

const MAX = 1_000

/** A record to take: `byteLength` is the length of its payload, without the total length that begins a FIRST. */
interface Step {
  readonly kind: number
  readonly byteLength?: number
  readonly total?: number
  readonly messageId?: number
}

function take(assembly: MessageAssembly, { kind, byteLength = 0, total = 0, messageId = 1 }: Step) {
  const prefixBytes = kind === FIRST ? TOTAL_LENGTH_BYTES : 0
  const piece = assembly.take(kindWord(kind, messageId), byteLength + prefixBytes, total)
  return piece instanceof IncompleteMessageError || piece === undefined ? piece : { ...piece }
}

function after(...steps: Step[]): MessageAssembly {
  const assembly = new MessageAssembly(MAX)
  for (const step of steps) take(assembly, step)
  return assembly
}

const first: Step = { kind: FIRST, byteLength: 10, total: 30 }

describe('MessageAssembly.take: what a correct producer sends', () => {
  test('MessageAssembly takes DATA as a whole message, of 0 bytes and of maxMessageBytes too', () => {
    for (const byteLength of [0, 5, MAX]) {
      const assembly = after()
      expect(take(assembly, { kind: DATA, byteLength })).toEqual({
        messageOffset: 0,
        messageByteLength: byteLength,
        prefixBytes: 0,
        byteLength,
      })
      expect(assembly.isInsideMessage).toBe(false)
    }
  })

  test('MessageAssembly.takeWhole takes a message in one record at the start and between messages, nowhere else', () => {
    const starts: Step[][] = [[], [{ kind: DATA }], [{ kind: LAST, byteLength: 1 }], [first, { kind: ABORT }]]
    for (const steps of starts) expect(after(...steps).takeWhole(1)).toBe(true)
    for (const steps of [[first], [{ kind: MIDDLE, byteLength: 1 }]]) expect(after(...steps).takeWhole(1)).toBe(false)
  })

  test('MessageAssembly.takeWhole ends the joining: a fragment after it has no beginning', () => {
    const assembly = after()
    assembly.takeWhole(1)
    expectCode('ERR_ISTHMUS_CORRUPT', () => take(assembly, { kind: MIDDLE, byteLength: 1 }))
  })

  test('MessageAssembly tells where each fragment belongs', () => {
    const assembly = after()
    expect(take(assembly, first)).toEqual({ messageOffset: 0, messageByteLength: 30, prefixBytes: 8, byteLength: 10 })
    expect(assembly.isInsideMessage).toBe(true)
    expect(take(assembly, { kind: PADDING, byteLength: 3 })).toBeUndefined()
    expect(take(assembly, { kind: MIDDLE, byteLength: 15 })).toMatchObject({
      messageOffset: 10,
      prefixBytes: 0,
      byteLength: 15,
    })
    expect(take(assembly, { kind: LAST, byteLength: 5 })).toMatchObject({ messageOffset: 25, messageByteLength: 30 })
    expect(assembly.isInsideMessage).toBe(false)
  })

  test('MessageAssembly reports a message that ABORT or the end of the epoch breaks off, once', () => {
    const endings = {
      ABORT: (assembly: MessageAssembly) => take(assembly, { kind: ABORT }),
      'end of the epoch': (assembly: MessageAssembly) => assembly.endEpoch(),
    }
    for (const end of Object.values(endings)) {
      const assembly = after(first, { kind: MIDDLE, byteLength: 7 })
      expect(end(assembly)).toMatchObject({ reason: 'abandoned', receivedBytes: 17, messageByteLength: 30 })
      expect(end(assembly)).toBeUndefined()
      expect(take(assembly, { kind: DATA, byteLength: 1 })).toMatchObject({ byteLength: 1 })
    }
  })

  test('MessageAssembly passes over ABORT and the end of an epoch between messages', () => {
    for (const assembly of [after(), after({ kind: DATA, byteLength: 1 }), after({ kind: ABORT })]) {
      expect([take(assembly, { kind: ABORT }), assembly.endEpoch()]).toEqual([undefined, undefined])
    }
  })

  test('MessageAssembly that joins midway reports it once and skips to the next message', () => {
    const assembly = after()
    expect(take(assembly, { kind: MIDDLE, byteLength: 5 })).toMatchObject({ reason: 'joined-midway' })
    expect(take(assembly, { kind: MIDDLE, byteLength: 5 })).toBeUndefined()
    expect(take(assembly, { kind: LAST, byteLength: 5 })).toBeUndefined()
    expect(take(assembly, first)).toMatchObject({ messageOffset: 0 })
  })

  test('MessageAssembly that joins at the last fragment reports it and goes on with the next message', () => {
    const assembly = after()
    expect(take(assembly, { kind: LAST, byteLength: 5 })).toMatchObject({ reason: 'joined-midway' })
    expect(take(assembly, first)).toMatchObject({ messageOffset: 0 })
  })

  test('MessageAssembly still joins after an epoch that ended before anything was received', () => {
    const assembly = after()
    assembly.endEpoch()
    expect(take(assembly, { kind: MIDDLE, byteLength: 5 })).toMatchObject({ reason: 'joined-midway' })
  })

  test('MessageAssembly takes a record with step only: a second look finds the same record', () => {
    const steps: Step[] = [first, { kind: MIDDLE, byteLength: 5 }, { kind: LAST, byteLength: 15 }, { kind: ABORT }]
    const looking = after()
    const taking = after()
    for (const { kind, byteLength = 0, total = 0 } of steps) {
      const record = [kindWord(kind, 1), byteLength + (kind === FIRST ? TOTAL_LENGTH_BYTES : 0), total] as const
      const looks = [looking.look(...record), looking.look(...record)].map((piece) => piece && { ...piece })
      const taken = taking.take(...record)
      expect(looks).toEqual([taken && { ...taken }, taken && { ...taken }])
      looking.step()
      expect(looking.isInsideMessage).toBe(taking.isInsideMessage)
    }
  })
})

describe('MessageAssembly.take: what no correct producer sends', () => {
  /** What an assembly returns for a record, which shows its state. */
  function outcome(assembly: MessageAssembly, step: Step): unknown {
    try {
      return take(assembly, step)
    } catch (error) {
      return error
    }
  }

  function check(before: Step[], refused: Step) {
    const probes: Step[] = [first, whole, middle, { kind: LAST, byteLength: 20 }, { kind: ABORT }]
    for (const probe of probes) {
      const assembly = after(...before)
      expectCode('ERR_ISTHMUS_CORRUPT', () => take(assembly, refused))
      expectCode('ERR_ISTHMUS_CORRUPT', () => take(assembly, refused))
      expect(outcome(assembly, probe)).toEqual(outcome(after(...before), probe))
    }
  }

  const whole: Step = { kind: DATA, byteLength: 1 }
  const middle: Step = { kind: MIDDLE, byteLength: 5 }
  const cases: [string, Step[], Step][] = [
    ['DATA inside a message', [first], whole],
    ['FIRST inside a message', [first], first],
    ['DATA inside a message that is skipped', [middle], whole],
    ['FIRST inside a message that is skipped', [middle], first],
    ['MIDDLE between messages', [whole], middle],
    ['LAST between messages', [whole], { kind: LAST, byteLength: 5 }],
    ['MIDDLE of another message', [first], { ...middle, messageId: 2 }],
    ['LAST of another message', [first], { kind: LAST, byteLength: 20, messageId: 2 }],
    ['MIDDLE of 0 bytes', [first], { kind: MIDDLE, byteLength: 0 }],
    ['MIDDLE that completes its message', [first], { kind: MIDDLE, byteLength: 20 }],
    ['MIDDLE beyond its message', [first], { kind: MIDDLE, byteLength: 21 }],
    ['LAST that is too short', [first], { kind: LAST, byteLength: 19 }],
    ['LAST that is too long', [first], { kind: LAST, byteLength: 21 }],
    ['FIRST of 0 bytes', [], { kind: FIRST, byteLength: 0, total: 30 }],
    ['FIRST without room for its total', [], { kind: FIRST, byteLength: -8, total: 30 }],
    ['FIRST that completes its message', [], { kind: FIRST, byteLength: 30, total: 30 }],
    ['FIRST of a message beyond maxMessageBytes', [], { kind: FIRST, byteLength: 10, total: MAX + 1 }],
    ['FIRST of a total that is no safe integer', [], { kind: FIRST, byteLength: 10, total: 2 ** 53 }],
    ['DATA beyond maxMessageBytes', [], { kind: DATA, byteLength: MAX + 1 }],
    ['a record of kind 0', [], { kind: 0 }],
    ['a record of an unknown kind', [whole], { kind: 7 }],
    ['a record of an unknown kind inside a message', [first], { kind: 255 }],
  ]

  test.each(cases)('MessageAssembly refuses %s, and nothing has changed', (_name, before, step) => {
    check(before, step)
  })
})

describe('MessageAssembly: properties', () => {
  /** A message as fragment lengths, and after how many of them it is abandoned. */
  const message = fc.record({
    fragments: fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 8 }),
    abandonedAfter: fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined, freq: 3 }),
    isPadded: fc.boolean(),
  })

  test('MessageAssembly puts every fragment of every message where it belongs, and reports exactly the abandoned ones', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), (messages) => {
        const assembly = new MessageAssembly(MAX)
        messages.forEach(({ fragments, abandonedAfter, isPadded }, messageId) => {
          const total = fragments.reduce((sum, byteLength) => sum + byteLength, 0)
          if (fragments.length === 1) {
            expect(take(assembly, { kind: DATA, byteLength: total })).toMatchObject({ byteLength: total })
            return
          }
          let messageOffset = 0
          for (const [at, byteLength] of fragments.entries()) {
            if (isPadded) expect(take(assembly, { kind: PADDING, byteLength: 8 })).toBeUndefined()
            if (at === abandonedAfter) {
              expect(take(assembly, { kind: ABORT })).toMatchObject({
                receivedBytes: messageOffset,
                messageByteLength: total,
              })
              return
            }
            const kind = at === 0 ? FIRST : at === fragments.length - 1 ? LAST : MIDDLE
            expect(take(assembly, { kind, byteLength, total, messageId })).toEqual({
              messageOffset,
              messageByteLength: total,
              prefixBytes: kind === FIRST ? 8 : 0,
              byteLength,
            })
            messageOffset += byteLength
          }
          expect(assembly.isInsideMessage).toBe(false)
        })
      }),
      { numRuns: 500 },
    )
  })

  test('MessageAssembly gives only fragments inside their message, whatever is in memory', () => {
    const step = fc.record({
      kind: fc.oneof(
        { weight: 9, arbitrary: fc.integer({ min: DATA, max: ABORT }) },
        { weight: 1, arbitrary: fc.nat(255) },
      ),
      byteLength: fc.integer({ min: -8, max: 60 }),
      total: fc.oneof(fc.nat(100), fc.nat(), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })),
      messageId: fc.nat(1),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const assembly = new MessageAssembly(MAX)
        let expectedOffset = 0
        for (const each of steps) {
          try {
            const piece = take(assembly, {
              ...each,
              byteLength: each.kind === FIRST ? each.byteLength : each.byteLength + 8,
            })
            if (piece === undefined || piece instanceof IncompleteMessageError) continue
            if (piece.messageOffset !== 0) expect(piece.messageOffset).toBe(expectedOffset)
            expectedOffset = piece.messageOffset + piece.byteLength
            expect(piece.byteLength).toBeGreaterThanOrEqual(0)
            expect(expectedOffset).toBeLessThanOrEqual(piece.messageByteLength)
            expect(piece.messageByteLength).toBeLessThanOrEqual(MAX)
            expect(assembly.isInsideMessage).toBe(expectedOffset < piece.messageByteLength)
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_ISTHMUS_CORRUPT' })
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})
