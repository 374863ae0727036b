// Tries the optional mapper for real: `npm run test:mmap-io`. The package mmap-io is compiled when it is installed, so this
// needs a C++ compiler, and Node.js 20 or 22, for which it can be built.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, 'node_modules', '.cache', `mmap-io-${process.versions.modules}`)

if (process.env.NODE_PATH === undefined) {
  install()
  const env = { ...process.env, NODE_PATH: join(cache, 'node_modules') }
  process.exit(spawnSync(process.execPath, [fileURLToPath(import.meta.url)], { env, stdio: 'inherit' }).status ?? 1)
}

// The built packages, found from a workspace package that has them all.
const require = createRequire(join(root, 'property-tests', 'package.json'))
const { Segment } = require('@isthmus/shm-posix')
const { spscRing } = require('@isthmus/ring')

const name = `/isthmus-test-${process.pid}-mmap-io`
const layout = spscRing({ capacityBytes: 16_384 })
const writer = Segment.create(name, layout)
try {
  const reader = Segment.open(name, layout, { mapper: 'mmap-io' })
  assert.equal(writer.mapper, 'overlay')
  assert.equal(reader.mapper, 'mmap-io')
  const producer = writer.root.producer()
  const consumer = reader.root.consumer()
  for (let number = 0; number < 10_000; number++) {
    const message = new Uint8Array(number % 2000).fill(number)
    assert.equal(producer.trySend(message), true)
    assert.deepEqual(consumer.tryReceive(), message)
  }
  producer.close()
  assert.equal(consumer.tryReceive(), null)
  reader.close()
  assert.equal(reader.words[0], 0)
  console.log('10000 messages went from the overlay mapper to mmap-io')
} finally {
  writer.close()
  Segment.unlink(name)
}

function install() {
  if (existsSync(join(cache, 'node_modules', 'mmap-io', 'package.json'))) return
  mkdirSync(cache, { recursive: true })
  writeFileSync(join(cache, 'package.json'), '{ "private": true }')
  const args = ['install', '--no-audit', '--no-fund', 'mmap-io@npm:@riaskov/mmap-io@^1.4']
  const { status } = spawnSync('npm', args, { cwd: cache, stdio: ['ignore', 'ignore', 'inherit'] })
  assert.equal(status, 0, 'Installing mmap-io failed')
}
