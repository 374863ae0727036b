// Prepares a fresh clone on a machine that has only Node.js and npm: dependencies through the pinned pnpm, then the build.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { packageManager } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))

run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--reporter=append-only'])
run('npx', ['--yes', packageManager, '--recursive', '--reporter=append-only', 'run', 'build'])

/** Runs a command, and shows its output only if it fails. */
function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (status === 0) return
  console.error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ` with exit code ${status}`}`)
  console.error(`${stdout ?? ''}${stderr ?? ''}`)
  process.exit(1)
}
