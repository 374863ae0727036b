// node --experimental-vm-modules in-vm-context.mjs NAME FILE BUFFERS: uses everything inside a vm context, in which test runners
// run every test file. The context has its own Error, SharedArrayBuffer and WebAssembly; node:fs throws errors of the outer
// realm. BUFFERS says whether its ArrayBuffer and Uint8Array are its `own` or, as in Jest, those of the `outside`.
import { readFileSync } from 'node:fs'
import { createRequire, isBuiltin } from 'node:module'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'

const TIMERS = ['clearInterval', 'clearTimeout', 'setImmediate', 'setInterval', 'setTimeout']
const OF_THE_WEB = ['AbortController', 'TextDecoder', 'TextEncoder', 'console', 'performance', 'structuredClone']

const [, , name, file, buffers] = process.argv
const globals = ['Buffer', 'process', ...TIMERS, ...OF_THE_WEB]
if (buffers === 'outside') globals.push('ArrayBuffer', 'Uint8Array')
const context = vm.createContext(Object.fromEntries(globals.map((key) => [key, globalThis[key]])))
const modules = new Map()

const surface = await link('./public-surface.mjs', { identifier: import.meta.url })
await surface.link(link)
await surface.evaluate()
console.log(await surface.namespace.useEverything({ name, file }))

async function link(specifier, parent) {
  const url = isBuiltin(specifier) ? specifier : urlOf(specifier, parent.identifier)
  if (!modules.has(url)) modules.set(url, isBuiltin(url) ? await builtin(url) : fromFile(url))
  return modules.get(url)
}

function urlOf(specifier, parentUrl) {
  return pathToFileURL(createRequire(parentUrl).resolve(specifier)).href
}

function fromFile(url) {
  return new vm.SourceTextModule(readFileSync(new URL(url), 'utf8'), {
    context,
    identifier: url,
    initializeImportMeta: (meta) => {
      meta.url = url
    },
  })
}

async function builtin(specifier) {
  const real = await import(specifier)
  const names = Object.keys(real)
  return new vm.SyntheticModule(
    names,
    function () {
      for (const exported of names) this.setExport(exported, real[exported])
    },
    { context },
  )
}
