import { inspect } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { counter } from '../support/ledger.js'
import { removeEverything, takenNames, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

afterEach(removeEverything)

/** A call that TypeScript refuses, but that a JavaScript program may contain. */
type Loose = (...given: unknown[]) => unknown

const NO_OPTIONS = [null, 5, 'fast', true, () => {}]
const NO_TIMEOUTS = [Number.NaN, -1, '100', null, {}, 5n].map((lockTimeoutMs) => ({ lockTimeoutMs }))
const NO_ATTACH_OPTIONS = [
  ...NO_OPTIONS,
  ...NO_TIMEOUTS,
  ...[5, 'fast', null, '', 'toString', {}].map((mapper) => ({ mapper })),
]
const NO_OPEN_OPTIONS = [
  ...NO_ATTACH_OPTIONS,
  ...['x', 1, null].map((recover) => ({ recover })),
  ...[5.5, -1, 2 ** 32, Number.NaN, 'me', null, true, [1.5], ['1000'], {}].map((owner) => ({ owner })),
]
const NO_LAYOUTS = [undefined, null, 5, 'f64', {}, () => counter]
const NO_PLACES = [undefined, null, 5, {}, [], { file: 5 }, { file: '' }, { file: 'a\0b' }]
const NO_NAMES = ['', 'orders', '/', '/..', '/a/b', '/\ud800', '/\udfffx', { file: '/tmp/\ud800' }]
const NO_FILES = [{ file: '/tmp/.isthmus-0123456789abcdef.unfinished' }]
const NO_PRUNE_OPTIONS = [
  ...NO_OPTIONS,
  ...[5, null, {}, /x/].map((prefix) => ({ prefix })),
  ...['yes', 1, null].map((force) => ({ force })),
]

const name = '/isthmus-never-made'
const INVALID = 'ERR_ISTHMUS_INVALID_ARGUMENT'
const INVALID_NAME = 'ERR_ISTHMUS_INVALID_NAME'
const waysIn = (['create', 'open', 'openOrCreate'] as const).flatMap((method): [string, string, unknown[]][] => [
  ...NO_PLACES.map((where): [string, string, unknown[]] => [method, INVALID, [where, counter]]),
  ...[...NO_NAMES, ...NO_FILES].map((where): [string, string, unknown[]] => [method, INVALID_NAME, [where, counter]]),
  ...NO_LAYOUTS.map((layout): [string, string, unknown[]] => [method, INVALID, [name, layout]]),
  ...NO_OPEN_OPTIONS.map((options): [string, string, unknown[]] => [method, INVALID, [name, counter, options]]),
])
const handle = { isthmus: 'segment', pid: process.pid, path: '/proc/self/fd/0', subject: 'it', isFile: false }
const CALLS: [string, string, unknown[]][] = [
  ...waysIn,
  ...NO_LAYOUTS.map((layout): [string, string, unknown[]] => ['createAnonymous', INVALID, [layout]]),
  ...NO_ATTACH_OPTIONS.map((options): [string, string, unknown[]] => ['createAnonymous', INVALID, [counter, options]]),
  ...[undefined, null, 5, 'handle', {}, { ...handle, pid: 1 }, { ...handle, path: 5 }].map(
    (given): [string, string, unknown[]] => ['attach', INVALID, [given, counter]],
  ),
  ...NO_LAYOUTS.map((layout): [string, string, unknown[]] => ['attach', INVALID, [handle, layout]]),
  ...NO_ATTACH_OPTIONS.map((options): [string, string, unknown[]] => ['attach', INVALID, [handle, counter, options]]),
  ...NO_PLACES.map((where): [string, string, unknown[]] => ['unlink', INVALID, [where]]),
  ...NO_NAMES.map((where): [string, string, unknown[]] => ['unlink', INVALID_NAME, [where]]),
  ...[...NO_OPTIONS, ...NO_TIMEOUTS].map((options): [string, string, unknown[]] => [
    'unlink',
    INVALID,
    [name, options],
  ]),
  ...NO_PRUNE_OPTIONS.map((options): [string, string, unknown[]] => ['prune', INVALID, [options]]),
  ...[1, null, '/orders', {}].map((argument): [string, string, unknown[]] => ['list', INVALID, [argument]]),
]

describe('Arguments', () => {
  it.each(CALLS.map(([method, code, given]) => [method, code, inspect(given), given] as const))(
    'of Segment.%s: %s for %s',
    (method, code, _, given) => {
      const before = [holdingsUnder('/dev/shm'), takenNames()]
      const error = expectCode(code, () => (Segment[method as keyof typeof Segment] as unknown as Loose)(...given))
      expect(error.message).toMatch(/: .*[.]$/)
      expect([holdingsUnder('/dev/shm'), takenNames()]).toEqual(before)
    },
  )

  it('are reported before the system is asked, even if there is no segment', () => {
    const given = { mapper: 'fast' } as object
    expectCode(INVALID, () => Segment.open(uniqueName(), counter, given))
  })

  it('whose getter throws: nothing is made', () => {
    const options = {
      get mapper(): 'view' {
        throw new Error('of a getter')
      },
    }
    expect(() => Segment.create(uniqueName(), counter, options)).toThrow('of a getter')
    expect(takenNames()).toEqual([])
  })

  it('may be undefined: then they count as not given', () => {
    const options = {
      mapper: undefined,
      mode: undefined,
      lockTimeoutMs: undefined,
      owner: undefined,
      recover: undefined,
    }
    Segment.openOrCreate(uniqueName(), counter, options as object).close()
  })
})
