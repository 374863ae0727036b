import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** What a program can import, and the declarations that its compiler then reads. */
export interface PublicEntry {
  /** As a program writes it, such as `@isthmus/ring`. */
  readonly specifier: string
  /** The export condition under which it is found, if not under every one. */
  readonly condition: 'browser' | undefined
  readonly declarations: string
}

interface Target {
  readonly types: string
  readonly browser?: { readonly types: string }
}

/** Every entry of every package, except those that are for the other packages alone. */
export function publicEntries(): PublicEntry[] {
  return readdirSync(join(root, 'packages')).flatMap((folder) => {
    const directory = join(root, 'packages', folder)
    const { name, exports } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
      name: string
      exports: Record<string, string | Target>
    }
    return Object.entries(exports).flatMap(([path, target]) => {
      if (typeof target === 'string' || path === './internal') return []
      const specifier = name + path.slice(1)
      const all = { specifier, condition: undefined, declarations: join(directory, target.types) }
      const { browser } = target
      return browser
        ? [all, { specifier, condition: 'browser' as const, declarations: join(directory, browser.types) }]
        : [all]
    })
  })
}
