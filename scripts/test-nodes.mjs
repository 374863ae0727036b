// Runs the tests on the Node.js lines after the oldest supported one, on which `npm test` runs them: `npm run test:nodes`.
// The newest line runs all of them. The lines between share all but the files in SLOW, which take two thirds of the time: what
// these ask of Node.js (processes, threads, Atomics, files) both ends of the range answer. `npm run test:nodes -- 22` runs all
// tests on the given lines. Each Node.js comes as the npm package `node`, into a cache below node_modules. With COUNTS=FILE,
// writes how many tests passed and failed.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, 'node_modules', '.cache', 'nodes')
const NEWEST = '26'
const SLOW = [
  'broadcast-deaths',
  'broadcast-delivery',
  'broadcast-gates',
  'broadcast-overrun',
  'event-loop',
  'hostile',
  'interleaver',
  'kill-points',
  'lock-exclusion',
  'mpmc-delivery',
  'mpmc-linearizability',
  'mpmc-pipe-death',
  'queue-kills',
  'segment-lifecycle',
  'soak',
  'spsc-death',
]

const isChosen = process.argv.length > 2
const BETWEEN = ['22', '24']
const versions = isChosen ? process.argv.slice(2) : [...BETWEEN, NEWEST]

const stale = SLOW.filter((name) => !existsSync(join(root, 'property-tests/test', `${name}.test.ts`)))
if (stale.length > 0) throw new Error(`scripts/test-nodes.mjs skips what is not there: ${stale.join(', ')}`)

const counts = { passed: 0, failed: 0 }
// A log is often read from its end.
const failures = []
for (const version of versions) {
  const node = install(version)
  const results = join(cache, `results-${version}.json`)
  console.log(`Node.js ${spawnSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8' }).stdout.trim()}`)
  const skipped = isChosen || version === NEWEST ? [] : SLOW.map((name) => `property-tests/test/${name}.test.ts`)
  if (skipped.length > 0) console.log(`without ${skipped.join(', ')}`)
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const reporters = ['--reporter=dot', '--reporter=json', `--outputFile.json=${results}`]
  const share = skipped.length === 0 ? [] : [`--shard=${BETWEEN.indexOf(version) + 1}/${BETWEEN.length}`]
  const args = [vitest, 'run', ...reporters, ...share, ...skipped.map((file) => `--exclude=${file}`)]
  rmSync(results, { force: true })
  const { status } = spawnSync(node, args, { cwd: root, stdio: 'inherit' })
  if (!existsSync(results)) {
    console.error(`The tests on Node.js ${version} ended without results, with exit code ${status}`)
    counts.failed++
    continue
  }
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(results, 'utf8'))
  for (const { name, assertionResults } of testResults) {
    const failed = assertionResults.filter(({ status }) => status === 'failed')
    for (const { fullName } of failed) failures.push(`Node.js ${version}: ${relative(root, name)}: ${fullName}`)
  }
  counts.passed += numPassedTests
  counts.failed += numFailedTests
  // A run can fail without a failed test, by an error outside all tests.
  if (status !== 0 && numFailedTests === 0) counts.failed++
}
for (const failure of failures) console.log(failure)
console.log(`${versions.join(', ')}: ${counts.passed} passed, ${counts.failed} failed`)
if (process.env.COUNTS !== undefined) writeFileSync(process.env.COUNTS, JSON.stringify({ ...counts, failures }))
process.exit(counts.failed === 0 ? 0 : 1)

/** Returns the path of the binary. */
function install(version) {
  const directory = join(cache, version)
  const binary = join(directory, 'node_modules', 'node', 'bin', 'node')
  if (existsSync(binary)) return binary
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'package.json'), '{ "private": true }')
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund', `node@${version}`], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status === 0 && existsSync(binary)) return binary
  console.error(`Installing node@${version} from npm failed with exit code ${status}`)
  process.exit(1)
}
