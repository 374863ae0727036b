import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import type { Settings } from './settings.js'

const name = `/isthmus-example-settings-${process.pid}`
try {
  set({ volume: 3 })
  const workers = [start(), start(), start()]
  console.log(`Three workers: ${await said(workers)}`)

  // One is killed. The others, and the settings, notice nothing.
  workers[0].kill('SIGKILL')
  const others = said([workers[1], workers[2]])
  set({ greeting: 'good evening' })
  console.log(`Two workers: ${await others}`)

  // The next worker begins with what it finds.
  workers[0] = start()
  console.log(`A new worker: ${await said([workers[0]])}`)
  const exits = Promise.all(workers.map((worker) => once(worker, 'exit')))
  set({ isOver: true })
  await exits
} finally {
  Segment.unlink(name)
}

function set(changes: Partial<Settings>): void {
  execFileSync(process.execPath, [pathOf('set'), JSON.stringify(changes), name])
}

function start(): ChildProcess {
  return fork(pathOf('worker'), [name], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
}

/** What these workers say next: all of them the same. */
async function said(workers: ChildProcess[]): Promise<string> {
  const messages = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as string))
  return [...new Set(messages)].join(' | ')
}

function pathOf(program: string): string {
  return fileURLToPath(new URL(`./${program}.js`, import.meta.url))
}
