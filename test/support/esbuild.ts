import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './public-entries.js'

/** The part of esbuild that the tests use. It is installed as a dependency of tsup. */
interface Esbuild {
  buildSync(options: object): { metafile: { inputs: Record<string, object> } }
  transformSync(code: string, options: object): { code: string }
}

export const esbuild = createRequire(createRequire(join(root, 'package.json')).resolve('tsup'))('esbuild') as Esbuild
