import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** What a program can import, and the declarations that its compiler then reads. */
export interface PublicEntry {
  /** As a program writes it, such as `@isthmus/ring`. */
  readonly specifier: string
  /** The specifier and, if the entry is found under one export condition alone, that condition. */
  readonly title: string
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
      const entryOf = (title: string, { types }: { types: string }): PublicEntry => {
        return { specifier, title, declarations: join(directory, types) }
      }
      const { browser } = target
      return [entryOf(specifier, target), ...(browser ? [entryOf(`${specifier} (browser)`, browser)] : [])]
    })
  })
}
