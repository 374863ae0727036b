import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect } from 'vitest'

const repository = fileURLToPath(new URL('../../..', import.meta.url))
const folders: string[] = []

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** One step of a built package, and what is to stand there instead. */
export interface Fault {
  readonly package: string
  readonly right: string
  readonly wrong: string
}

/** A folder with the built programs in `dist`, and the built packages, in one of which something was replaced. */
export function copyWith(fault?: Fault): string {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-copy-'))
  folders.push(folder)
  cpSync(join(repository, 'property-tests/dist'), join(folder, 'dist'), { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const name of ['sync', 'ring', 'shm-posix']) {
    const copy = join(folder, 'node_modules/@isthmus', name)
    mkdirSync(copy, { recursive: true })
    cpSync(join(repository, 'packages', name, 'package.json'), join(copy, 'package.json'))
    cpSync(join(repository, 'packages', name, 'dist'), join(copy, 'dist'), { recursive: true })
  }
  const koffi = realpathSync(join(repository, 'packages/shm-posix/node_modules/koffi'))
  symlinkSync(koffi, join(folder, 'node_modules/koffi'))
  if (fault !== undefined) replace(join(folder, 'node_modules/@isthmus', fault.package, 'dist/index.js'), fault)
  return folder
}

function replace(file: string, { right, wrong }: Fault): void {
  const text = readFileSync(file, 'utf8')
  expect(text.split(right), `${right} stands in the built package once`).toHaveLength(2)
  writeFileSync(file, text.replace(right, wrong))
}
