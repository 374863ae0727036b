import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { removeEverything, temporaryDirectory } from '../support/names.js'

const packages = fileURLToPath(new URL('../../..', import.meta.url))
const koffi = realpathSync(dirname(createRequire(import.meta.url).resolve('koffi')))
const PERMISSION = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission'
  : '--experimental-permission'
const PROGRAM = `
  import { u32 } from '@isthmus/sync'
  import { Segment } from '@isthmus/shm-posix'
  try {
    const segment = Segment.createAnonymous(u32())
    segment.root.value = 5
    console.log(segment.root.value)
    segment.close()
  } catch ({ code, message }) {
    console.log(code, message)
  }`

afterEach(removeEverything)

/** A program's folder with copies of the built packages, and with koffi or without. */
function projectWith({ koffi: linkKoffi }: { koffi: boolean }): string {
  const folder = realpathSync(temporaryDirectory())
  for (const name of ['sync', 'shm-posix']) {
    const copy = join(folder, 'node_modules/@isthmus', name)
    cpSync(join(packages, name, 'dist'), join(copy, 'dist'), { recursive: true })
    cpSync(join(packages, name, 'package.json'), join(copy, 'package.json'))
  }
  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
  if (linkKoffi) symlinkSync(koffi, join(folder, 'node_modules/koffi'))
  return folder
}

function runIn(folder: string, flags: string[] = [], cwd = '/'): string {
  const args = ['--no-warnings', ...flags, join(folder, 'program.mjs')]
  // Package managers set it to folders that contain koffi.
  const env = { ...process.env, NODE_PATH: '' }
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd, env, encoding: 'utf8' })
  return stdout + stderr
}

describe('koffi', () => {
  it('is found beside the package, and with --preserve-symlinks beside the place the package is really in', () => {
    const folder = projectWith({ koffi: true })
    expect(runIn(folder)).toBe('5\n')
    // As pnpm installs it: the program sees a link, and the package's dependencies are beside its real path.
    const store = join(folder, 'store')
    mkdirSync(store)
    renameSync(join(folder, 'node_modules'), join(store, 'node_modules'))
    mkdirSync(join(folder, 'node_modules/@isthmus'), { recursive: true })
    for (const name of ['sync', 'shm-posix']) {
      symlinkSync(join(store, 'node_modules/@isthmus', name), join(folder, 'node_modules/@isthmus', name))
    }
    expect(runIn(folder)).toBe('5\n')
    expect(runIn(folder, ['--preserve-symlinks'])).toBe('5\n')
  })

  it('is found from the working directory', () => {
    const elsewhere = temporaryDirectory()
    mkdirSync(join(elsewhere, 'node_modules'))
    symlinkSync(koffi, join(elsewhere, 'node_modules/koffi'))
    expect(runIn(projectWith({ koffi: false }), [], elsewhere)).toBe('5\n')
  })

  it('that is not installed gets an error that says where it was looked for, and what to do', () => {
    const folder = projectWith({ koffi: false })
    const output = runIn(folder)
    expect(output).toMatch(/^ERR_ISTHMUS_UNSUPPORTED .*koffi.* is not installed where it was looked for/)
    expect(output).toContain(
      `${folder}/node_modules/@isthmus/shm-posix/dist/index.js, ${folder}/program.mjs, /package.json`,
    )
    expect(output).toMatch(/npm install koffi.*keep koffi external/)
  })

  it('of another version is refused, with the version that is needed', () => {
    const folder = projectWith({ koffi: false })
    const fake = join(folder, 'node_modules/koffi')
    mkdirSync(fake)
    writeFileSync(join(fake, 'index.js'), "exports.version = '2.9.1'")
    expect(runIn(folder)).toMatch(
      /^ERR_ISTHMUS_UNSUPPORTED .*koffi 2\.9\.1 was found \(.*\); 3\.3 or a later 3 is needed/,
    )
  })

  it('that is broken is named with its place and its own words, and no other one is taken', () => {
    const folder = projectWith({ koffi: false })
    const fake = join(folder, 'node_modules/koffi')
    mkdirSync(fake)
    writeFileSync(join(fake, 'index.js'), "throw new Error('Cannot find the native Koffi module')")
    const elsewhere = temporaryDirectory()
    mkdirSync(join(elsewhere, 'node_modules'))
    symlinkSync(koffi, join(elsewhere, 'node_modules/koffi'))
    expect(runIn(folder, [], elsewhere)).toMatch(
      /^ERR_ISTHMUS_UNSUPPORTED .*was found \(.*\/koffi\/index.js\) but cannot be loaded \(Cannot find the native Koffi module\)/,
    )
  })

  it.each([
    ['--allow-addons', [PERMISSION, '--allow-fs-read=*', '--allow-fs-write=*']],
    ['--no-addons', ['--no-addons']],
  ])('that may not be loaded gets an error that names %s', (flag, flags) => {
    const output = runIn(projectWith({ koffi: true }), flags)
    expect(output).toMatch(/^ERR_ISTHMUS_UNSUPPORTED .*may not be loaded, since native addons are disabled/)
    expect(output).toContain(flag)
  })

  it('that may not be read gets an error that names --allow-fs-read', () => {
    const folder = projectWith({ koffi: true })
    const output = runIn(folder, [PERMISSION, `--allow-fs-read=${folder}/*`, '--allow-addons'])
    expect(output).toMatch(/^ERR_ISTHMUS_UNSUPPORTED .*--allow-fs-read/)
  })
})
