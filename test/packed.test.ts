import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

/** What users get: the packed tarballs, installed with npm into an empty project. */

const root = fileURLToPath(new URL('..', import.meta.url))
const project = mkdtempSync(join(tmpdir(), 'isthmus-packed-'))

beforeAll(() => {
  const tarballs = join(project, 'tarballs')
  mkdirSync(tarballs)
  for (const name of ['sync', 'ring', 'shm-posix']) {
    run('pnpm', ['pack', '--pack-destination', tarballs], join(root, 'packages', name))
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const files = readdirSync(tarballs).map((file) => join(tarballs, file))
  run('npm', ['install', '--no-audit', '--no-fund', ...files], project)
}, 180_000)

afterAll(() => rmSync(project, { recursive: true, force: true }))

const PROGRAM = `
const layout = struct({ ring: spscRing({ capacityBytes: 4096, codec: utf8 }), total: f64() })
const segment = Segment.createAnonymous(layout)
const producer = segment.root.ring.producer()
const consumer = segment.root.ring.consumer()
producer.trySend('packed')
segment.root.total.value = 1.5
console.log(consumer.tryReceive(), segment.root.total.value, segment.words.buffer instanceof SharedArrayBuffer)
segment.close()
`
const NAMES = {
  '@isthmus/sync': 'struct, f64',
  '@isthmus/ring': 'spscRing, utf8',
  '@isthmus/shm-posix': 'Segment',
}

describe('The packed packages', () => {
  it('can be imported', () => {
    const imports = Object.entries(NAMES).map(([name, names]) => `import { ${names} } from '${name}'`)
    writeFileSync(join(project, 'program.mjs'), imports.join('\n') + PROGRAM)
    expect(run(process.execPath, ['program.mjs'], project)).toBe('packed 1.5 true\n')
  })

  it.each(Object.keys(NAMES))('%s has its constants as constants, which V8 compiles in', (name) => {
    const dist = join(project, 'node_modules', name, 'dist')
    const files = readdirSync(dist).filter((file) => file.endsWith('.js'))
    const built = files.map((file) => readFileSync(join(dist, file), 'utf8')).join('\n')
    expect(built).toMatch(/^const [A-Z_]+ = /m)
    expect(built).not.toMatch(/^var [A-Z][A-Z0-9_]* = /m)
  })

  it('can be required', () => {
    const requires = Object.entries(NAMES).map(([name, names]) => `const { ${names} } = require('${name}')`)
    writeFileSync(join(project, 'program.cjs'), requires.join('\n') + PROGRAM)
    expect(run(process.execPath, ['--no-warnings', 'program.cjs'], project)).toBe('packed 1.5 true\n')
  })

  it('bring their types', () => {
    const imports = Object.entries(NAMES).map(([name, names]) => `import { ${names} } from '${name}'`)
    const types = `
export const text: string | undefined | null = consumer.tryReceive()
// @ts-expect-error the codec takes strings
producer.trySend(1)
`
    writeFileSync(join(project, 'program.ts'), imports.join('\n') + PROGRAM + types)
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', 'false']
    const lib = ['--lib', 'es2023,es2024.sharedmemory,esnext.disposable,dom']
    expect(run(join(root, 'node_modules', '.bin', 'tsc'), [...options, ...lib, 'program.ts'], project)).toBe('')
  })
})

function run(command: string, args: string[], cwd: string): string {
  const path = `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe', env: { ...process.env, PATH: path } })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} ${args.join(' ')} failed\n${stdout}\n${stderr}`)
  }
}
