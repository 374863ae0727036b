// Counts the import circles in packages/*/src, and fails if there is one: `npm run circles [-- ROOT]`, where ROOT is another
// checkout. Between folders every import counts, also one of types alone: a folder in a circle cannot be read, or moved,
// without the others. Between files only imports that are left at run time count: there a circle decides what is undefined
// while the modules load.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript-5.4'

const root = resolve(process.argv[2] ?? dirname(dirname(fileURLToPath(import.meta.url))))
const packages = join(root, 'packages')

const imports = readdirSync(packages).flatMap((name) => importsOf(join(packages, name, 'src')))
const isFine = [
  report(
    'between folders',
    imports.map(({ from, to }) => ({ from: roomOf(from), to: roomOf(to) })),
  ),
  report(
    'between files at run time',
    imports.filter(({ isErased }) => !isErased),
  ),
]
process.exit(isFine.every(Boolean) ? 0 : 1)

function report(where, edges) {
  const circles = circlesOf(edges.filter(({ from, to }) => from !== to))
  console.log(`Import circles ${where}: ${circles.length}`)
  for (const circle of circles) {
    const names = [...circle, circle[0]].map((path) => relative(packages, path).replace('/src', ''))
    console.log(`  ${names.join(' → ')}`)
  }
  return circles.length === 0
}

/** Every import of a file of the folder, from file to file. */
function importsOf(source) {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.flatMap((file) => {
    const from = join(source, file)
    const { statements } = ts.createSourceFile(from, readFileSync(from, 'utf8'), ts.ScriptTarget.Latest)
    return statements.flatMap((statement) => {
      const { moduleSpecifier } = statement
      const to = moduleSpecifier && fileOf(moduleSpecifier.text, from)
      if (to === undefined) return []
      return [{ from, to, isErased: statement.isTypeOnly === true || statement.importClause?.isTypeOnly === true }]
    })
  })
}

/** The file that a specifier names, or undefined if it is no file of these packages. */
function fileOf(specifier, from) {
  if (specifier.startsWith('.')) return join(dirname(from), specifier.replace(/\.js$/, '.ts'))
  const [, name, entry = 'index'] = /^@isthmus\/([^/]+)(?:\/(.+))?$/.exec(specifier) ?? []
  return name && join(packages, name, 'src', `${entry}.ts`)
}

/** A file that lies in no folder below `src` is a room of its own: `index.ts` sees all folders, and all see `errors.ts`. */
function roomOf(file) {
  const folder = dirname(file)
  return folder.endsWith('/src') ? file : folder
}

/** For each import that is part of a circle the shortest circle through it, each circle once. */
function circlesOf(edges) {
  const next = new Map()
  for (const { from, to } of edges) next.set(from, (next.get(from) ?? new Set()).add(to))
  const circles = new Map()
  for (const { from, to } of edges) {
    const path = shortestPath(next, to, from)
    if (path === undefined) continue
    const start = path.indexOf(path.toSorted()[0])
    const circle = [...path.slice(start), ...path.slice(0, start)]
    circles.set(circle.join(), circle)
  }
  return [...circles.values()].sort((a, b) => a.length - b.length || (a.join() < b.join() ? -1 : 1))
}

function shortestPath(next, from, to) {
  const cameFrom = new Map([[from, undefined]])
  for (const place of cameFrom.keys()) {
    if (place === to) {
      const path = []
      for (let step = place; step !== undefined; step = cameFrom.get(step)) path.unshift(step)
      return path
    }
    for (const neighbour of next.get(place) ?? []) if (!cameFrom.has(neighbour)) cameFrom.set(neighbour, place)
  }
  return undefined
}
