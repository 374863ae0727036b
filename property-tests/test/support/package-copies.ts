import {
  cpSync,
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
import { fileURLToPath } from 'node:url'
import { afterAll, expect } from 'vitest'

const repository = fileURLToPath(new URL('../../..', import.meta.url))
const folders: string[] = []

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** One step of a built package, and the text that replaces it. */
export interface Fault {
  readonly package: string
  readonly right: string
  readonly wrong: string
}

/** Makes a folder with the built programs in `dist`, and the built packages, one of them with a fault. */
export function copyWith(fault?: Fault): string {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-copy-'))
  folders.push(folder)
  cpSync(join(repository, 'property-tests/dist'), join(folder, 'dist'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const name of ['sync', 'ring', 'shm-posix']) {
    const copy = join(folder, 'node_modules/@isthmus', name)
    mkdirSync(copy, { recursive: true })
    cpSync(join(repository, 'packages', name, 'package.json'), join(copy, 'package.json'))
    cpSync(join(repository, 'packages', name, 'dist'), join(copy, 'dist'), {
      recursive: true,
      filter: (path) => !/\.(?:map|d\.ts)$/.test(path),
    })
  }
  const koffi = realpathSync(join(repository, 'packages/shm-posix/node_modules/koffi'))
  symlinkSync(koffi, join(folder, 'node_modules/koffi'))
  if (fault !== undefined) replace(join(folder, 'node_modules/@isthmus', fault.package, 'dist'), fault)
  return folder
}

/** The entries of a package share their modules in chunks, so the step may stand in any of the built files. */
function replace(folder: string, { right, wrong }: Fault): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.js'))
  let count = 0
  for (const file of files.map((name) => join(folder, name))) {
    const text = readFileSync(file, 'utf8')
    count += text.split(right).length - 1
    writeFileSync(file, text.replace(right, wrong))
  }
  expect(count, `how often ${right} stands in the built package`).toBe(1)
}
