import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectCode } from '../../../sync/test/support/expect-code.js'
import { locate, type SegmentFile } from '../../src/segment/location.js'

describe('locate() with a name', () => {
  it.each([
    ['a plain one', '/orders'],
    ['dots inside', '/orders.v1..x'],
    ['three dots', '/...'],
    ['a hidden one', '/.orders'],
    ['nearly one of an unfinished segment', '/.isthmus-1'],
    ['spaces and quotes', '/the "orders" of today'],
    ['letters of other scripts', '/заказы-注文'],
    ['one byte', '/o'],
    ['exactly 255 bytes', `/${'x'.repeat(255)}`],
    ['exactly 255 bytes of several per letter', `/${'é'.repeat(127)}x`],
  ])('accepts %s', (_, name) => {
    expect(locate(name)).toEqual({
      path: `/dev/shm${name}`,
      directory: '/dev/shm',
      subject: `the segment ${name}`,
      isFile: false,
    })
  })

  it.each([
    ['nothing', '', /does not begin with a slash/],
    ['no slash', 'orders', /does not begin with a slash/],
    ['a relative path', './orders', /does not begin with a slash/],
    ['a slash alone', '/', /no file name/],
    ['the directory itself', '/.', /no file name/],
    ['the directory above', '/..', /no file name/],
    ['two slashes', '/a/b', /second slash/],
    ['two slashes in a row', '//orders', /second slash/],
    ['a slash at the end', '/orders/', /second slash/],
    ['a way out', '/../etc/passwd', /second slash/],
    ['a NUL', '/orders\0', /NUL/],
    ['a name of unfinished segments', '/.isthmus-0123456789abcdef.unfinished', /unfinished segment/],
    ['half of a surrogate pair', '/\ud800', /surrogate/],
    ['the other half', '/orders\udfff', /surrogate/],
    ['two halves in the wrong order', '/\udc00\ud800', /surrogate/],
    ['256 bytes', `/${'x'.repeat(256)}`, /256 bytes/],
    ['256 bytes in fewer letters', `/${'é'.repeat(128)}`, /256 bytes/],
    ['255 letters of four bytes', `/${'😀'.repeat(255)}`, /1020 bytes/],
  ])('refuses %s, and says why', (_, name, message) => {
    const error = expectCode('ERR_ISTHMUS_INVALID_NAME', () => locate(name))
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(message)
    expect(error.message).toContain("'/orders'")
  })
})

describe('locate() with a file', () => {
  it.each([
    ['half of a surrogate pair', '/tmp/\ud800'],
    ['half of a surrogate pair in a directory', '/\udfff/segment'],
    ['a name of unfinished segments, which a creator would remove', '/tmp/.isthmus-0123456789abcdef.unfinished'],
  ])('refuses %s', (_, file) => {
    expectCode('ERR_ISTHMUS_INVALID_NAME', () => locate({ file }))
  })

  it('resolves its path at once', () => {
    const path = resolve('some/where.isthmus')
    expect(locate({ file: 'some/where.isthmus' })).toEqual({
      path,
      directory: resolve('some'),
      subject: `the segment file ${path}`,
      isFile: true,
    })
    expect(locate({ file: '/a/../b/./c' }).path).toBe('/b/c')
  })

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 5],
    ['a bigint', 5n],
    ['a symbol', Symbol('orders')],
    ['a function', () => '/orders'],
    ['an empty object', {}],
    ['a String object', new String('/orders')],
    ['a URL', new URL('file:///tmp/orders')],
    ['an empty path', { file: '' }],
    ['a path with a NUL', { file: '/tmp/a\0b' }],
    ['a path that is no string', { file: 7 }],
    ['an object that refers to itself', circular()],
  ])('refuses %s', (_, where) => {
    expect(expectCode('ERR_ISTHMUS_INVALID_ARGUMENT', () => locate(where as SegmentFile))).toBeInstanceOf(TypeError)
  })
})

function circular(): object {
  const object: { self?: object } = {}
  object.self = object
  return object
}
