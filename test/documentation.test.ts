import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as internal from '@isthmus/sync/internal'
import * as isthmus from 'isthmus'
import { describe, expect, it } from 'vitest'
import { esbuild } from './support/esbuild.js'
import { root } from './support/public-entries.js'

/**
 * The documentation is true: quoted files are equal to the files, quoted output to what the programs print, and the examples of
 * the doc comments run. `npm run docs` updates the quotations.
 */

const isUpdating = process.env.ISTHMUS_UPDATE_DOCS === '1'

const RESULT = /^( *)(\S[^\n]*?) \/\/ (true|false|undefined|null|[\d.]+|'[^']*')(?:: .*)?$/gm

// <!-- file: PATH --> or <!-- output: COMMAND & COMMAND -->, and the code block after it
const QUOTATION = /(<!-- (file|output): (.+?) -->\n\n?```\w*\n)([\s\S]*?)```/g

const guides = ['docs/publish-subscribe.md']

describe.each(['README.md', 'examples/README.md', ...guides])('%s', (document) => {
  const text = readFileSync(join(root, document), 'utf8')
  const quotations = [...text.matchAll(QUOTATION)].map(([all, head, kind, source, content]) => {
    return { all, head, kind, source, content }
  })

  it('quotes something', () => expect(quotations.length).toBeGreaterThan(1))

  it.each(quotations)('quotes $source as it is', { timeout: 60_000 }, async ({ all, head, kind, source, content }) => {
    const actual = kind === 'file' ? readFileSync(join(root, source), 'utf8') : await outputOf(source.split(' & '))
    if (!isUpdating) return expect(content).toBe(actual)
    const path = join(root, document)
    const updated = readFileSync(path, 'utf8').replace(all, () => `${head}${actual}\`\`\``)
    writeFileSync(path, updated)
  })
})

describe('The examples of the packages', () => {
  const packages = ['isthmus', 'sync', 'ring', 'shm-posix'].map((name) => join(root, 'packages', name))
  const examples = [
    ...packages.flatMap((directory) => [
      ...examplesOf(join(directory, 'src')),
      ...snippetsOf(join(directory, 'README.md')),
    ]),
    ...['README.md', ...guides].flatMap((document) => snippetsOf(join(root, document))),
  ]

  it('are all found, and some say what comes of them', () => {
    const sources = packages.flatMap((directory) => sourcesOf(join(directory, 'src')))
    const count = sources.flatMap(({ text }) => text.match(/@example\b/g) ?? []).length
    expect(packages.flatMap((directory) => examplesOf(join(directory, 'src'))).length).toBe(count)
    expect(examples.filter(({ code }) => withResultsChecked(code) !== code).length).toBeGreaterThan(4)
  })

  it.each(examples)('run: $file', async ({ code }) => {
    const { struct, f64, u32, HeapRegion, spscRing, mpmcQueue, latest } = isthmus
    const orders = struct({ ring: spscRing({ capacityBytes: 4096 }), total: f64(), seen: u32() })
    const { root: cell } = HeapRegion.create(latest({ byteLength: 64 }))
    const writer = cell.writer()
    writer.write(Uint8Array.of(1))
    const { root: queue } = HeapRegion.create(mpmcQueue({ blocks: 64, blockBytes: 1024 }))
    using region = HeapRegion.create(orders)
    using other = HeapRegion.attach(region.handle, orders)
    const producer = region.root.ring.producer()
    const consumer = other.root.ring.consumer()
    for (const number of [1, 2, 3]) producer.trySend(Uint8Array.of(number))
    const scope = {
      // Also the functions for the other packages have examples.
      ...internal,
      ...isthmus,
      orders,
      region,
      producer,
      consumer,
      consumers: new Set([consumer]),
      cell,
      writer,
      queue,
      sender: queue.sender(),
      receiver: queue.receiver(),
      expect,
      order: Uint8Array.of(4),
      signal: AbortSignal.timeout(10_000),
      handle: () => producer.close(),
    }
    const AsyncFunction = (async () => {}).constructor as new (
      ...source: string[]
    ) => (...values: unknown[]) => Promise<void>
    const shadowed = new Set(
      [...code.matchAll(/const (?:\{([^}]*)\}|\w+)/g)].flatMap(([all]) => all.match(/\w+/g) ?? []),
    )
    const names = Object.keys(scope).filter((key) => !shadowed.has(key))
    try {
      await new AsyncFunction(...names, compiled(withResultsChecked(code)))(
        ...names.map((key) => scope[key as keyof typeof scope]),
      )
    } finally {
      for (const { name } of isthmus.Segment.list()) if (name === '/isthmus-example') isthmus.Segment.unlink(name)
    }
  })
})

async function outputOf(commands: string[]): Promise<string> {
  const runs = commands.map(async (command) => {
    const [program, ...args] = command.split(' ')
    const { stdout } = await promisify(execFile)(program === 'node' ? process.execPath : program, args, { cwd: root })
    return stdout
  })
  return (await Promise.all(runs)).join('')
}

/** JavaScript that every Node.js runs, for code with `using` or types. */
function compiled(code: string): string {
  const options = { loader: 'ts', target: 'node20' }
  return `${esbuild.transformSync(`const example = async () => {\n${code}\n}`, options).code}\nawait example()`
}

/** Turns a line such as `region.root.total.value // 12.5` into a check of that value. */
function withResultsChecked(code: string): string {
  return code.replace(RESULT, (_, indent, expression, value) => `${indent}expect(${expression}).toEqual(${value})`)
}

/** The code in a document that is not quoted from a file. */
function snippetsOf(file: string): { file: string; code: string }[] {
  const text = readFileSync(file, 'utf8').replaceAll(QUOTATION, '')
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => ({ file, code }))
}

/** The code of every `@example`, without the comment's stars. */
function examplesOf(directory: string): { file: string; code: string }[] {
  return sourcesOf(directory).flatMap(({ file, text }) => {
    return [...text.matchAll(/@example\n\s*\* ```ts\n([\s\S]*?)\* ```/g)].map(([, block]) => {
      return { file, code: block.replace(/^\s*\* ?/gm, '') }
    })
  })
}

function sourcesOf(directory: string): { file: string; text: string }[] {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.map((file) => ({ file, text: readFileSync(join(directory, file), 'utf8') }))
}
