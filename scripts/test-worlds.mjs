// Tries the built packages under programs that load modules in their own way: test runners, which run files in vm contexts,
// and bundlers, whose output does not know where its sources were. `npm run test:worlds [-- NAME…]` tries the worlds whose
// names contain one of the arguments. The tools come from npm, into a cache below node_modules.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const TOOLS = { '@vercel/ncc': '0.45.0', esbuild: '0.28.2', jest: '30.5.2', tsup: '8.5.1', webpack: '5.113.0' }
const TIMEOUT_MS = 120_000

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, 'node_modules', '.cache', 'worlds')
const wanted = process.argv.slice(2)

installTools()
const results = { passed: 0, failed: 0 }
runnerWorlds()
for (const bundler of Object.keys(bundlers())) for (const format of ['esm', 'cjs']) bundleWorlds(bundler, format)
console.log(`${results.passed} passed, ${results.failed} failed`)
process.exit(results.failed === 0 ? 0 : 1)

function runnerWorlds() {
  const jest = [join(cache, 'node_modules/jest/bin/jest.js'), '--ci', '--watchman=false', '--cacheDirectory=.jest']
  const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--globals']
  const runners = {
    'jest, with vm modules': ['--experimental-vm-modules', ...jest],
    'jest, with vm modules, in one process': ['--experimental-vm-modules', ...jest, '--runInBand'],
    'vitest --pool=vmThreads': [...vitest, '--pool=vmThreads'],
    'vitest --pool=vmForks': [...vitest, '--pool=vmForks'],
    'vitest --pool=threads': [...vitest, '--pool=threads'],
  }
  for (const [name, command] of Object.entries(runners)) {
    world(name, (folder) => {
      installPackages(folder)
      cpSync(join(root, 'test/worlds/public-surface.mjs'), join(folder, 'public-surface.mjs'))
      writeFileSync(join(folder, 'jest.config.json'), '{ "testMatch": ["**/*.test.mjs"], "transform": {} }')
      // Two files: the second copy in one process meets what the first one left.
      for (const file of ['one', 'two']) {
        const place = { name: `/isthmus-worlds-${process.pid}-${file}`, file: join(folder, file) }
        writeFileSync(
          join(folder, `${file}.test.mjs`),
          `import { useEverything } from './public-surface.mjs'
           test('everything works', async () => expect(await useEverything(${JSON.stringify(place)})).toBe('ok'), 60_000)`,
        )
      }
      run(process.execPath, ['--no-warnings', ...command], folder)
    })
  }
}

/** Each bundle is built in one place, and run in another one after that is gone. */
function bundleWorlds(bundler, format) {
  const build = bundlers()[bundler]
  const extension = format === 'esm' ? 'mjs' : 'cjs'
  let text
  const buildIn = (folder) => {
    installPackages(folder, { koffi: false })
    for (const file of ['public-surface.mjs', 'program.mjs'])
      cpSync(join(root, 'test/worlds', file), join(folder, file))
    const built = readFileSync(build(folder, format), 'utf8')
    rmSync(folder, { recursive: true })
    return built
  }
  const bundle = (folder) => {
    text ??= buildIn(realpathSync(mkdtempSync(join(tmpdir(), 'isthmus-worlds-build-'))))
    const path = join(folder, 'app/dist', `program.${extension}`)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }
  const places = (folder) => [`/isthmus-worlds-${process.pid}`, join(folder, 'segment')]
  const works = (command, args, cwd) => {
    const output = run(command, args, cwd)
    if (output !== 'ok\n') throw new Error(`It printed ${JSON.stringify(output)}`)
  }
  world(`${bundler}, ${format}, koffi beside the bundle`, (folder) => {
    const path = bundle(folder)
    installKoffi(dirname(path))
    works(process.execPath, [path, ...places(folder)], '/')
  })
  world(`${bundler}, ${format}, koffi installed in the program's folder`, (folder) => {
    const path = bundle(folder)
    installKoffi(join(folder, 'app'))
    works(process.execPath, [path, ...places(folder)], '/')
  })
  world(`${bundler}, ${format}, koffi installed in the working directory`, (folder) => {
    const path = bundle(folder)
    const elsewhere = join(folder, 'elsewhere')
    installKoffi(elsewhere)
    works(process.execPath, [path, ...places(folder)], elsewhere)
  })
  world(`${bundler}, ${format}, no koffi: the error says what to do`, (folder) => {
    const path = bundle(folder)
    const { stderr } = spawnSync(process.execPath, [path, ...places(folder)], { cwd: '/', encoding: 'utf8' })
    for (const part of ['ERR_ISTHMUS_UNSUPPORTED', 'keep koffi external', dirname(path)]) {
      if (!stderr.includes(part)) throw new Error(`The error does not say ${part}:\n${endOf(stderr)}`)
    }
  })
}

/** Each bundles `program.mjs` of the folder, and returns the path of the bundle. */
function bundlers() {
  const tool = (...path) => join(cache, 'node_modules', ...path)
  return {
    esbuild(folder, format) {
      const output = ['--outfile=out.js', `--format=${format}`, '--platform=node', '--log-level=error']
      run(tool('esbuild/bin/esbuild'), ['program.mjs', '--bundle', ...output], folder)
      return join(folder, 'out.js')
    },
    webpack(folder, format) {
      const config = {
        ...{ mode: 'production', target: 'node20', entry: './program.mjs', experiments: { outputModule: true } },
        output: {
          path: join(folder, 'out'),
          filename: 'out.js',
          library: { type: format === 'esm' ? 'module' : 'commonjs2' },
          ...(format === 'esm' ? { module: true, chunkFormat: 'module' } : { module: false, chunkFormat: 'commonjs' }),
        },
      }
      const script = `require(${JSON.stringify(tool('webpack'))})(${JSON.stringify(config)}, (error, stats) => {
        if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString())
      })`
      run(process.execPath, ['--eval', script], folder)
      return join(folder, 'out', 'out.js')
    },
    ncc(folder, format) {
      // ncc takes the format from the entry.
      const entry = `entry.${format === 'esm' ? 'mjs' : 'cjs'}`
      writeFileSync(join(folder, entry), format === 'esm' ? "import './program.mjs'" : "require('./program.mjs')")
      run(process.execPath, [tool('@vercel/ncc/dist/ncc/cli.js'), 'build', entry, '-o', 'out', '-q'], folder)
      return ['index.mjs', 'index.cjs', 'index.js'].map((name) => join(folder, 'out', name)).find(existsSync)
    },
    tsup(folder, format) {
      const options = {
        entry: ['program.mjs'],
        format: [format],
        outDir: 'out',
        noExternal: ['@isthmus/'],
        silent: true,
      }
      const source = `export default ${JSON.stringify(options)}`.replace('"@isthmus/"', '/@isthmus/')
      writeFileSync(join(folder, 'tsup.config.mjs'), source)
      run(process.execPath, [tool('tsup/dist/cli-default.js')], folder)
      return ['program.js', 'program.mjs', 'program.cjs'].map((name) => join(folder, 'out', name)).find(existsSync)
    },
  }
}

function world(name, attempt) {
  if (wanted.length > 0 && !wanted.some((word) => name.includes(word))) return
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'isthmus-worlds-')))
  try {
    attempt(folder)
    results.passed++
    console.log(`  passed  ${name}`)
  } catch (error) {
    results.failed++
    console.log(`  FAILED  ${name}\n${error.message}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function run(command, args, cwd) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { ...process.env, NODE_PATH: '' },
  })
  if (status === 0) return stdout
  throw new Error(
    `${command} ${args.join(' ')} ended with ${error?.message ?? signal ?? status}\n${endOf(stdout + stderr)}`,
  )
}

/** Node.js quotes the line of an error, which may be a whole bundle. */
function endOf(output) {
  return output.length > 2000 ? `…${output.slice(-2000)}` : output
}

/** Installs copies, as npm would: no link leads back into this repository. */
function installPackages(folder, { koffi = true } = {}) {
  for (const name of ['sync', 'ring', 'shm-posix', 'isthmus']) {
    const target = join(folder, 'node_modules', name === 'isthmus' ? name : `@isthmus/${name}`)
    cpSync(join(root, 'packages', name, 'dist'), join(target, 'dist'), { recursive: true })
    cpSync(join(root, 'packages', name, 'package.json'), join(target, 'package.json'))
  }
  if (koffi) installKoffi(folder)
}

function installKoffi(folder) {
  const koffi = realpathSync(join(root, 'packages/shm-posix/node_modules/koffi'))
  const native = `@koromix/koffi-${process.platform}-${process.arch}`
  cpSync(koffi, join(folder, 'node_modules/koffi'), { recursive: true })
  cpSync(realpathSync(join(koffi, '..', native)), join(folder, 'node_modules', native), { recursive: true })
}

function installTools() {
  const list = JSON.stringify({ private: true, dependencies: TOOLS })
  const listPath = join(cache, 'package.json')
  if (existsSync(join(cache, 'node_modules')) && readFileSync(listPath, 'utf8') === list) return
  rmSync(cache, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  writeFileSync(listPath, list)
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund'], {
    cwd: cache,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status === 0) return
  rmSync(cache, { recursive: true, force: true })
  console.error(`Installing ${Object.keys(TOOLS).join(', ')} from npm failed with exit code ${status}`)
  process.exit(1)
}
