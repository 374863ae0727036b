import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const SOURCES = fileURLToPath(new URL('../../src', import.meta.url))

it('Only files in src/native call the C library', () => {
  const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const callers = files.filter((file) =>
    /from '[^']*\/libc\.js'|from 'koffi'/.test(readFileSync(join(SOURCES, file), 'utf8')),
  )
  expect(callers.length).toBeGreaterThan(5)
  expect(callers.filter((file) => !file.startsWith('native/'))).toEqual([])
})
