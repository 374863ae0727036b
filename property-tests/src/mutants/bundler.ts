import { createRequire } from 'node:module'

/** The part of esbuild that is used here. */
export interface Bundler {
  buildSync(options: object): unknown
  transformSync(source: string, options: object): unknown
}

/** The bundler with which tsup builds the packages of that repository. */
export function bundlerOf(repository: string): Bundler {
  const root = createRequire(`${repository}/package.json`)
  return createRequire(root.resolve('tsup'))('esbuild') as Bundler
}
