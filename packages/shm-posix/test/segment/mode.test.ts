import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { segmentMode } from '../../src/segment/mode.js'
import { endAllChildren, inChild, withOwnSharedMemory } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { pathOf, removeEverything, temporaryDirectory, uniqueName } from '../support/names.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

describe('The mode of a segment', () => {
  it.each([
    [undefined, 0o600],
    [0o600, 0o600],
    [0o660, 0o660],
    [0o666, 0o666],
    [0o777, 0o777],
    [0o644, 0o600],
    [0o640, 0o600],
    [0o622, 0o600],
    [0o664, 0o660],
    [0o646, 0o606],
    [0o755, 0o700],
  ])('%o becomes %o: half a right is no right', (mode, expected) => {
    expect(segmentMode(mode)).toBe(expected)
  })

  it.each([
    0,
    0o400,
    0o200,
    0o077,
    0o066,
    0o1000,
    0o4777,
    0o100600,
    -1,
    0.5,
    2 ** 32,
    2 ** 32 + 0o600,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '0600',
    null,
    true,
    384n,
    {},
  ])('%s is refused before anything is made', (mode) => {
    const name = uniqueName()
    const options = { mode } as { mode: number }
    for (const make of [Segment.create, Segment.openOrCreate]) {
      const error = expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => make(name, counter, options))
      expect(error.message).toMatch(/mode is .*0o600/)
    }
    expect(statSync(pathOf(name), { throwIfNoEntry: false })).toBeUndefined()
  })

  it('is what stands on the file, named or not', () => {
    const file = join(temporaryDirectory(), 'segment')
    Segment.create({ file }, counter, { mode: 0o644 }).close()
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    using anonymous = Segment.createAnonymous(counter, { mode: 0o666 } as object)
    expect(statSync(anonymous.handle.path).mode & 0o7777).toBe(0o600)
  })

  it('does not depend on the umask, even one that takes everything away', async () => {
    const modes = await inChild(
      async ({ fs, load }) => {
        const { Segment, struct, u32 } = await load()
        const layout = struct({ count: u32() })
        fs.chmodSync('/dev/shm', 0o1777)
        if (process.getuid?.() === 0) {
          // Root may do what the mode of a file forbids.
          Segment.createAnonymous(layout).close()
          process.setgroups?.([])
          process.setgid?.(65534)
          process.setuid?.(65534)
        }
        return [0o777, 0o277, 0o377].map((umask) => {
          process.umask(umask)
          Segment.createAnonymous(layout).close()
          return ['/named', { file: '/dev/shm/file' }].map((where) => {
            const segment = Segment.create(where, layout, { mode: 0o660 })
            const { mode } = fs.statSync(typeof where === 'string' ? '/dev/shm/named' : where.file)
            Segment.open(where, layout).close()
            Segment.attach(segment.handle, layout).close()
            segment.close()
            Segment.unlink(where)
            return mode & 0o7777
          })
        })
      },
      null,
      { wrapper: withOwnSharedMemory('4m') },
    )
    expect(modes.flat()).toEqual(Array(6).fill(0o660))
  })
})
