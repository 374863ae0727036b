import { closeSync, fstatSync } from 'node:fs'
import { expect, it } from 'vitest'
import { openAnonymousFile } from '../../src/native/anonymous-file.js'

it('openAnonymousFile() makes a file for this user alone', () => {
  const fd = openAnonymousFile(4096)
  expect(fstatSync(fd).mode & 0o7777).toBe(0o600)
  closeSync(fd)
})
