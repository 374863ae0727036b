import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { chooseMapper } from '../../src/mapping/mapper.js'
import type { MapperName } from '../../src/mapping/mapping.js'
import { mapOverlay } from '../../src/mapping/overlay.js'
import { doesOverlayWork } from '../../src/mapping/self-test.js'
import { mapView } from '../../src/mapping/view.js'
import { endAllChildren, inChild } from '../support/child.js'

afterEach(endAllChildren)

describe('chooseMapper()', () => {
  it('gives the mapper of this name, and the overlay without a name', () => {
    expect(chooseMapper('view')).toBe(mapView)
    expect(chooseMapper('overlay')).toBe(mapOverlay)
    expect(chooseMapper(undefined)).toBe(mapOverlay)
  })

  it.each(['', 'Overlay', 'toString', 5, null])('refuses a mapper called %j', (name) => {
    const error = expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => chooseMapper(name as MapperName))
    expect(error.message).toMatch(/'overlay', 'view' or 'mmap-io'/)
  })
})

describe('doesOverlayWork()', () => {
  it('says yes here, however often it is asked', () => {
    expect(doesOverlayWork()).toBe(true)
    expect(doesOverlayWork()).toBe(true)
  })

  it('says no on Bun: the view mapper serves, and the overlay is refused with advice', async () => {
    const seen = await inChild(async (kit) => {
      Object.defineProperty(process, 'versions', { value: { ...process.versions, bun: '1.2.0' } })
      const { Segment, struct, u32 } = await kit.load()
      const layout = struct({ count: u32() })
      const segment = Segment.createAnonymous(layout)
      segment.root.count.value = 3
      const { mapper } = segment
      const failure = kit.failureOf(() => Segment.createAnonymous(layout, { mapper: 'overlay' }))
      return { mapper, count: segment.root.count.value, failure }
    }, null)
    expect(seen).toMatchObject({ mapper: 'view', count: 3, failure: { code: 'ERR_ISTHMUS_UNSUPPORTED' } })
    expect(seen.failure?.message).toMatch(/Leave the mapper out/)
  })

  it('says no if V8 gives no growable SharedArrayBuffer', async () => {
    const mapper = await inChild(async (kit) => {
      globalThis.SharedArrayBuffer = new Proxy(SharedArrayBuffer, {
        construct(Real, [byteLength, options]: [number, object?]) {
          if (options !== undefined) throw new TypeError('There are no growable buffers here')
          return new Real(byteLength)
        },
      })
      const { Segment, struct, u32 } = await kit.load()
      return Segment.createAnonymous(struct({ count: u32() })).mapper
    }, null)
    expect(mapper).toBe('view')
  })
})
