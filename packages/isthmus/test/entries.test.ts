import * as ring from '@isthmus/ring'
import * as shm from '@isthmus/shm-posix'
import * as sync from '@isthmus/sync'
import { expect, it } from 'vitest'
import * as browser from '../src/browser.js'
import * as all from '../src/index.js'

it('isthmus has all names of the three packages, and the same things under them', () => {
  expect({ ...all }).toEqual({ ...sync, ...ring, ...shm })
})

it('In a browser it has all but the segments', () => {
  expect({ ...browser }).toEqual({ ...sync, ...ring })
})
