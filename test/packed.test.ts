import { type ExecFileException, execFile } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { esbuild } from './support/esbuild.js'
import { publicEntries, root } from './support/public-entries.js'

/** The packed tarballs, installed with npm into an empty project, are what users get. */

const PACKAGES = {
  '@isthmus/sync': 'sync',
  '@isthmus/ring': 'ring',
  '@isthmus/shm-posix': 'shm-posix',
  isthmus: 'isthmus',
}
const names = Object.keys(PACKAGES)

let project: string

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'isthmus-packed-'))
  const tarballs = join(project, 'tarballs')
  mkdirSync(tarballs)
  const folders = Object.values(PACKAGES).map((folder) => join(root, 'packages', folder))
  await Promise.all(folders.map((folder) => run('pnpm', ['pack', '--pack-destination', tarballs], folder)))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  const files = readdirSync(tarballs).map((file) => join(tarballs, file))
  await run('npm', ['install', '--no-audit', '--no-fund', ...files], project)
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
const WANTED = {
  isthmus: 'Segment, f64, spscRing, struct, utf8',
  '@isthmus/shm-posix': 'Segment',
  '@isthmus/ring': 'spscRing, utf8',
  '@isthmus/sync': 'f64, struct',
}
const APART = ['@isthmus/shm-posix', '@isthmus/ring', '@isthmus/sync'] as const
const WAYS: { way: string; from: readonly (keyof typeof WANTED)[] }[] = [
  { way: 'as one', from: ['isthmus'] },
  { way: 'each by itself', from: APART },
]

describe('The packed packages', () => {
  it.each(WAYS)('can be imported $way', async ({ from }) => {
    const imports = from.map((name) => `import { ${WANTED[name]} } from '${name}'`)
    writeFileSync(join(project, 'program.mjs'), imports.join('\n') + PROGRAM)
    expect(await run(process.execPath, ['program.mjs'], project)).toBe('packed 1.5 true\n')
  })

  it.each(WAYS)('can be required $way', async ({ from }) => {
    const requires = from.map((name) => `const { ${WANTED[name]} } = require('${name}')`)
    writeFileSync(join(project, 'program.cjs'), requires.join('\n') + PROGRAM)
    expect(await run(process.execPath, ['--no-warnings', 'program.cjs'], project)).toBe('packed 1.5 true\n')
  })

  it('run the first example of the README', async () => {
    const source = join(root, 'examples/src/2-two-processes')
    const folder = join(project, 'example')
    mkdirSync(folder)
    for (const file of readdirSync(source)) {
      // The test of the documentation may be running the same example.
      const text = readFileSync(join(source, file), 'utf8').replace(
        '/isthmus-example-',
        `/isthmus-packed-${process.pid}-`,
      )
      writeFileSync(join(folder, file), text)
    }
    const entryPoints = readdirSync(folder).map((file) => join(folder, file))
    esbuild.buildSync({ entryPoints, outdir: folder, format: 'esm', target: 'node20' })
    const programs = ['consumer.js', 'producer.js'].map((file) => run(process.execPath, [join(folder, file)], project))
    const [printed] = await Promise.all(programs)
    expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`\`\`\`\n${printed}\`\`\``)
    expect(printed).toContain('total: ')
  })

  it('isthmus runs in a browser: a bundle has nothing of Node.js, and no segments', async () => {
    const program = `
import { HeapRegion, spscRing, utf8 } from 'isthmus'
const region = HeapRegion.create(spscRing({ capacityBytes: 4096, codec: utf8 }))
region.root.producer().trySend('bundled')
console.log(region.root.consumer().tryReceive(), typeof process)
`
    writeFileSync(join(project, 'page.mjs'), program)
    const options = { bundle: true, platform: 'browser', format: 'esm', metafile: true, logLevel: 'silent' }
    const outfile = join(project, 'page-bundle.mjs')
    const { metafile } = esbuild.buildSync({ ...options, entryPoints: [join(project, 'page.mjs')], outfile })
    expect(Object.keys(metafile.inputs).filter((path) => /koffi|shm-posix|structured/.test(path))).toEqual([])
    expect(readFileSync(outfile, 'utf8')).not.toMatch(/^import\b|\brequire\(/m)
    expect(await run(process.execPath, [outfile], project)).toMatch(/^bundled /)

    writeFileSync(join(project, 'segment-page.mjs'), "import { Segment } from 'isthmus'\nconsole.log(Segment)")
    const entryPoints = [join(project, 'segment-page.mjs')]
    expect(() => esbuild.buildSync({ ...options, entryPoints, write: false })).toThrow('No matching export')
  })

  it.each(names)('%s has its constants as constants, which V8 compiles in', (name) => {
    const dist = join(project, 'node_modules', name, 'dist')
    const files = readdirSync(dist).filter((file) => file.endsWith('.js'))
    const built = files.map((file) => readFileSync(join(dist, file), 'utf8')).join('\n')
    if (name !== 'isthmus') expect(built).toMatch(/^const [A-Z_]+ = /m)
    expect(built).not.toMatch(/^var [A-Z][A-Z0-9_]* = /m)
  })

  it.each(names)('%s is packed as npm, Node.js and bundlers expect it', async (name) => {
    const folder = join(project, 'node_modules', name)
    const { messages, pkg } = await publint({ pkgDir: folder, pack: false, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'dist', 'src']))
  })

  it.each(names)('%s asks for exactly the version of the others with which it was tested', (name) => {
    const { version, dependencies = {} } = JSON.parse(
      readFileSync(join(project, 'node_modules', name, 'package.json'), 'utf8'),
    ) as { version: string; dependencies?: Record<string, string> }
    const ours = Object.entries(dependencies).filter(([dependency]) => dependency.startsWith('@isthmus/'))
    expect(ours).toEqual(ours.map(([dependency]) => [dependency, version]))
  })
})

describe('The types of the packed packages', () => {
  const TYPES = `${PROGRAM}
export const text: string | undefined | null = consumer.tryReceive()
// @ts-expect-error the codec takes strings
producer.trySend(1)
`
  const compilers = { 'TypeScript 5.4': 'typescript-5.4', 'the newest TypeScript': 'typescript' }
  const programs = ['all-in-one.ts', 'apart.ts', 'every-entry.ts']
  const projects = {
    'NodeNext, with the types of Node.js': { module: 'nodenext', types: ['node'], lib: [], files: programs },
    'Bundler, with the types of a browser': { module: 'esnext', types: [], lib: ['dom'], files: programs },
    // The declarations need nothing but the language.
    'NodeNext, with neither': { module: 'nodenext', types: [], lib: [], files: ['every-entry.ts'] },
  }
  const cases = Object.entries(compilers).flatMap(([title, compiler]) => {
    return Object.entries(projects).map(([surroundings, options]) => ({ title, compiler, surroundings, ...options }))
  })

  beforeAll(() => {
    writeFileSync(join(project, 'all-in-one.ts'), `import { ${WANTED.isthmus} } from 'isthmus'\n${TYPES}`)
    const imports = APART.map((name) => `import { ${WANTED[name]} } from '${name}'`)
    writeFileSync(join(project, 'apart.ts'), `${imports.join('\n')}\n${TYPES}`)
    const all = publicEntries().map(({ specifier }, index) => `export * as entry${index} from '${specifier}'`)
    writeFileSync(join(project, 'every-entry.ts'), all.join('\n'))
    mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
    symlinkSync(realpathSync(join(root, 'node_modules/@types/node')), join(project, 'node_modules/@types/node'))
  })

  it.concurrent.each(cases)(
    'compile with $title, $surroundings',
    { timeout: 180_000 },
    async ({ compiler, surroundings, module, types, lib, files }) => {
      const compilerOptions = {
        ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, target: 'es2022' },
        ...{ module, moduleResolution: module === 'esnext' ? 'bundler' : module, types },
        lib: ['es2023', 'esnext.disposable', ...lib],
      }
      const config = join(project, `${compiler} ${surroundings}.json`)
      writeFileSync(config, JSON.stringify({ compilerOptions, files }))
      const program = join(root, 'node_modules', compiler, 'bin/tsc')
      expect(await run(process.execPath, [program, '-p', config], project)).toBe('')
    },
  )
})

function run(command: string, args: string[], cwd: string): Promise<string> {
  const PATH = `${join(root, 'node_modules', '.bin')}:${process.env.PATH}`
  return new Promise((resolve, reject) => {
    const options = { cwd, encoding: 'utf8', env: { ...process.env, PATH } } as const
    execFile(command, args, options, (error: ExecFileException | null, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')} failed\n${stdout}\n${stderr}`))
      else resolve(stdout)
    })
  })
}
