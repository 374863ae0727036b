import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { Segment } from '../../src/index.js'
import { endAllChildren, inChild } from '../support/child.js'
import { counter } from '../support/ledger.js'
import { removeEverything, takenNames, temporaryDirectory, uniqueName } from '../support/names.js'
import { holdingsUnder } from '../support/processes.js'

afterEach(async () => {
  await endAllChildren()
  removeEverything()
})

describe('the mmap-io mapper', () => {
  it('is refused with advice if the package is not installed, and nothing is left behind', () => {
    const attempt = () => Segment.create(uniqueName(), counter, { mapper: 'mmap-io' })
    const holdingsBefore = holdingsUnder('/dev/shm')
    const error = expectCode('ERR_ISTHMUS_UNSUPPORTED', attempt)
    expect(error.message).toMatch(/npm install mmap-io@npm:@riaskov\/mmap-io/)
    expect(error.cause).toMatchObject({ code: 'MODULE_NOT_FOUND' })
    expect(takenNames()).toEqual([])
    expect(holdingsUnder('/dev/shm')).toEqual(holdingsBefore)
  })

  it('leaves a segment as it was when it cannot attach to it', () => {
    const name = uniqueName()
    const segment = Segment.create(name, counter)
    expectCode('ERR_ISTHMUS_UNSUPPORTED', () => Segment.open(name, counter, { mapper: 'mmap-io' }))
    expect(segment.peers.list()).toHaveLength(1)
    Segment.open(name, counter).close()
    segment.close()
  })

  it('maps through the package if it is installed, and shares with other mappers', async () => {
    const directory = temporaryDirectory()
    const koffi = createRequire(import.meta.url).resolve('koffi')
    mkdirSync(join(directory, 'mmap-io'))
    // Replaces the real package, which has to be compiled: the same call with the same arguments.
    writeFileSync(
      join(directory, 'mmap-io', 'index.js'),
      `const koffi = require(${JSON.stringify(koffi)})
       const mmap = koffi.load(null).func('uint64_t mmap(uintptr_t, size_t, int, int, int, int64_t)')
       module.exports = { PROT_READ: 1, PROT_WRITE: 2, MAP_SHARED: 1, map: (...[length, protection, flags, fd]) =>
         Buffer.from(koffi.view(mmap(0, length, protection, flags, fd, 0), length)) }`,
    )
    const seen = await inChild(
      async (kit, name) => {
        const { Segment, struct, u32 } = await kit.load()
        const layout = struct({ count: u32() })
        const one = Segment.create(name, layout, { mapper: 'mmap-io' })
        const other = Segment.open(name, layout)
        one.root.count.value = 5
        other.root.count.add(1)
        const mappers = [one.mapper, other.mapper]
        const count = one.root.count.value
        one.close()
        return { mappers, count, left: other.root.count.value, bytes: one.bytes.some((byte) => byte !== 0) }
      },
      uniqueName(),
      { wrapper: ['env', `NODE_PATH=${directory}`] },
    )
    expect(seen).toEqual({ mappers: ['mmap-io', 'overlay'], count: 6, left: 6, bytes: false })
  })
})
