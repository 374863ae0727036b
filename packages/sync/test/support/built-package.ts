import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'

/** Both entries of the built package. */
export type BuiltSync = typeof import('../../src/index.js') & typeof import('../../src/internal.js')

const dist = fileURLToPath(new URL('../../dist', import.meta.url))

/** One more copy of the built package in this realm, with modules of its own. */
export async function loadCopy(): Promise<BuiltSync> {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-copy-'))
  try {
    cpSync(dist, folder, { recursive: true })
    const [index, internal] = await Promise.all(
      ['index.js', 'internal.js'].map((file) => import(pathToFileURL(join(folder, file)).href)),
    )
    return { ...index, ...internal }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The built package as a script of a realm with built-ins of its own and the given globals. */
export function runInNewRealm(globals: object): BuiltSync {
  return vm.runInNewContext(`${bundle()}\nisthmus`, globals)
}

/** All files of the built package in one script, which makes one global of their exports. */
function bundle(): string {
  const root = createRequire(new URL('../../../../package.json', import.meta.url))
  const esbuild = createRequire(root.resolve('tsup'))('esbuild') as Esbuild
  const { outputFiles } = esbuild.buildSync({
    stdin: { contents: "export * from './index.js'\nexport * from './internal.js'", resolveDir: dist },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'isthmus',
  })
  return outputFiles[0].text
}

interface Esbuild {
  buildSync(options: object): { outputFiles: { text: string }[] }
}
