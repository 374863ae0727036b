import { FORMAT_VERSION } from '@isthmus/sync/internal'
import { expect, test } from 'vitest'
import { BESIDE, MEMORY, pathAt, TEMP } from '../../src/thread/fifo-place.js'

test('a release that looks for FIFOs under other names has another format version', () => {
  const segment = { directory: '/srv', isFile: true }
  const thread = '0123456789abcdef'
  const pathsAt = (place: number) => [
    pathAt({ place, uid: 7 }, segment, thread, 'alive'),
    pathAt({ place, uid: 7 }, segment, thread, 'wake'),
  ]
  expect({ version: FORMAT_VERSION, paths: [MEMORY, TEMP, BESIDE].flatMap(pathsAt) }).toEqual({
    version: 5,
    paths: [
      '/dev/shm/isthmus-7/0123456789abcdef.alive',
      '/dev/shm/isthmus-7/0123456789abcdef.wake',
      '/tmp/isthmus-7/0123456789abcdef.alive',
      '/tmp/isthmus-7/0123456789abcdef.wake',
      '/srv/.isthmus-7/0123456789abcdef.alive',
      '/srv/.isthmus-7/0123456789abcdef.wake',
    ],
  })
})
