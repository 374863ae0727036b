import { afterEach, describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { assertSupported, type Runtime, unsupported } from '../../src/native/support.js'
import { endAllChildren, inChild } from '../support/child.js'

const LINUX: Runtime = { platform: 'linux', arch: 'x64', nodeVersion: '20.19.0' }

afterEach(endAllChildren)

describe('assertSupported()', () => {
  it.each<[string, Partial<Runtime>]>([
    ['x64', {}],
    ['arm64', { arch: 'arm64' }],
    ['a later minor version', { nodeVersion: '20.20.2' }],
    ['a later version', { nodeVersion: '22.12.0' }],
    ['a version of two digits in the middle', { nodeVersion: '24.0.1' }],
    ['a version not yet published', { nodeVersion: '101.0.0-pre' }],
  ])('accepts Linux on %s', (_, runtime) => {
    expect(() => assertSupported({ ...LINUX, ...runtime })).not.toThrow()
  })

  it.each<[string, Partial<Runtime>, RegExp]>([
    ['macOS', { platform: 'darwin', arch: 'arm64' }, /this is darwin on arm64/],
    ['Windows', { platform: 'win32' }, /this is win32 on x64/],
    ['32 bits', { arch: 'ia32' }, /this is linux on ia32/],
    ['another architecture', { arch: 'riscv64' }, /this is linux on riscv64/],
    ['Node.js 18', { nodeVersion: '18.20.8' }, /Node\.js 18\.20\.8; segments need 20\.19/],
    ['an early Node.js 20', { nodeVersion: '20.18.3' }, /Node\.js 20\.18\.3/],
    ['no Node.js at all', { nodeVersion: '0.0' }, /Node\.js 0\.0/],
    ['a Node.js without crc32 (21)', { nodeVersion: '21.7.3' }, /Node\.js 21\.7\.3/],
    ['a Node.js without crc32 (22.1)', { nodeVersion: '22.1.0' }, /Node\.js 22\.1\.0/],
  ])('refuses %s, and says what is needed', (_, runtime, message) => {
    const error = expectCode('ERR_ISTHMUS_UNSUPPORTED', () => assertSupported({ ...LINUX, ...runtime }))
    expect(error.message).toMatch(message)
  })

  it('accepts the system on which these tests run', () => {
    expect(() => assertSupported()).not.toThrow()
  })
})

describe('unsupported()', () => {
  it('keeps the cause and names what works everywhere', () => {
    const cause = new Error('the cause')
    expect(unsupported('this is a toaster', cause)).toMatchObject({ cause, code: 'ERR_ISTHMUS_UNSUPPORTED' })
    expect(unsupported('this is a toaster').message).toMatch(/this is a toaster.*HeapRegion/)
  })
})

describe('the built package on an unsupported system', () => {
  it.each([
    ['platform', 'darwin'],
    ['platform', 'win32'],
    ['arch', 'ia32'],
  ])('with process.%s %s is imported without a crash, and every call refuses', async (property, value) => {
    const seen = await inChild(
      async (kit, { property, value }) => {
        Object.defineProperty(process, property, { value })
        const { Segment, struct, u32, HeapRegion } = await kit.load()
        const layout = struct({ count: u32() })
        const handle = {
          isthmus: 'segment',
          pid: process.pid,
          path: '',
          segmentId: '',
          subject: '',
          directory: '',
          isFile: false,
        } as const
        const attempts = {
          create: () => Segment.create('/isthmus-never', layout),
          open: () => Segment.open('/isthmus-never', layout),
          openOrCreate: () => Segment.openOrCreate('/isthmus-never', layout),
          anonymous: () => Segment.createAnonymous(layout),
          attach: () => Segment.attach(handle, layout),
          unlink: () => Segment.unlink('/isthmus-never'),
          list: () => Segment.list(),
          prune: () => Segment.prune(),
        }
        const failures = Object.entries(attempts).map(([name, attempt]) => [name, kit.failureOf(attempt)?.code])
        // Heap regions need no operating system, so they still work.
        const region = HeapRegion.create(layout)
        region.root.count.value = 7
        const isKoffiLoaded = Object.keys(kit.require.cache).some((file) => file.includes('koffi'))
        return { failures: Object.fromEntries(failures), count: region.root.count.value, isKoffiLoaded }
      },
      { property, value },
    )
    const refusal = 'ERR_ISTHMUS_UNSUPPORTED'
    expect(seen).toEqual({
      failures: {
        create: refusal,
        open: refusal,
        openOrCreate: refusal,
        anonymous: refusal,
        attach: refusal,
        unlink: refusal,
        list: refusal,
        prune: refusal,
      },
      count: 7,
      isKoffiLoaded: false,
    })
  })

  it('of an older Node.js, whose modules have less in them, is imported without a crash as well', async () => {
    const failure = await inChild(async (kit) => {
      const hooks = `export const resolve = (specifier, context, next) => /^(node:)?zlib$/.test(specifier)
        ? { url: 'data:text/javascript,export default {}', shortCircuit: true } : next(specifier, context)`
      kit.require('node:module').register(`data:text/javascript,${encodeURIComponent(hooks)}`)
      Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.10.0' } })
      const { Segment } = await kit.load()
      return kit.failureOf(() => Segment.list())
    }, null)
    expect(failure).toMatchObject({ code: 'ERR_ISTHMUS_UNSUPPORTED', message: expect.stringMatching(/20\.10\.0/) })
  })
})
