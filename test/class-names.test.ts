import { readdirSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { expect, it } from 'vitest'

const packages = ['sync', 'ring', 'shm-posix'] as const

async function built(name: string): Promise<Record<string, unknown>> {
  return import(new URL(`../packages/${name}/dist/index.js`, import.meta.url).href)
}

it.each(packages)('@isthmus/%s: every exported class has the name that it is exported under', async (name) => {
  const classes = Object.entries(await built(name)).filter(
    ([key, value]) => typeof value === 'function' && /^[A-Z]/.test(key),
  )
  expect(classes.map(([, value]) => (value as { name: string }).name)).toEqual(classes.map(([key]) => key))
})

it.each(packages)('@isthmus/%s: a class that the bundler renamed says its own name', (name) => {
  const dist = new URL(`../packages/${name}/dist/`, import.meta.url)
  const files = readdirSync(dist).filter((file) => file.endsWith('.js'))
  const text = files.map((file) => readFileSync(new URL(file, dist), 'utf8')).join('\n')
  const renamed = text.match(/^.*\bclass _\w+.*$/gm) ?? []
  expect(renamed.filter((line) => !/^var (\w+) = class _\1 .*static name = "\1";$/.test(line))).toEqual([])
})

it('HeapRegion and Segment are printed by their names', async () => {
  const { HeapRegion, u32 } = (await built('sync')) as unknown as typeof import('@isthmus/sync')
  const { Segment } = (await built('shm-posix')) as unknown as typeof import('@isthmus/shm-posix')
  using region = HeapRegion.create(u32())
  using segment = Segment.createAnonymous(u32())
  expect([region, segment].map((value) => inspect(value, { depth: 0 }).split(' ')[0])).toEqual([
    'HeapRegion',
    'Segment',
  ])
})
