import * as ring from '@isthmus/ring'
import * as structured from '@isthmus/ring/structured'
import * as shm from '@isthmus/shm-posix'
import * as sync from '@isthmus/sync'
import { expect, it } from 'vitest'
import * as browser from '../src/browser.js'
import * as all from '../src/index.js'

it('isthmus exports everything that the packages export', () => {
  expect({ ...all }).toEqual({ ...sync, ...ring, ...structured, ...shm })
})

it('In a browser, isthmus exports what needs no Node.js', () => {
  expect({ ...browser }).toEqual({ ...sync, ...ring })
})
