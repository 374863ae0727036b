import { execFile } from 'node:child_process'
import { describe, expect, test } from 'vitest'

const built = new URL('../../dist/index.js', import.meta.url).href
const internal = new URL('../../dist/internal.js', import.meta.url).href

/** Runs a program in a process of its own. Without fallback polling, it cannot end by accident. */
function run(program: string): Promise<{ exitCode: number; output: string }> {
  const text = `
    import { futex, HeapRegion, mutex, semaphore, struct } from '${built}'
    import { fallbackPolling } from '${internal}'
    const layout = struct({ word: futex(), lock: mutex(), permits: semaphore({ permits: 1 }) })
    const region = HeapRegion.create(layout)
    const other = HeapRegion.attach(region.handle, layout)
    ${program}`
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--input-type=module', '-e', text],
      { timeout: 20_000 },
      (_error, stdout) => resolve({ exitCode: child.exitCode ?? -1, output: stdout.trim() }),
    )
  })
}

describe('ref and unref', () => {
  test.each([
    ['Futex.waitWhile', 'other.root.word.unref().waitWhile(0)'],
    ['Mutex.lock', 'region.root.lock.lockSync(); other.root.lock.unref().lock()'],
    ['Semaphore.acquire', 'region.root.permits.acquireSync(); other.root.permits.unref().acquire()'],
  ])('%s that is unref’ed lets the process end', async (_name, wait) => {
    expect(await run(`${wait}; process.on('exit', () => console.log('ended'))`)).toEqual({
      exitCode: 0,
      output: 'ended',
    })
  })

  test('Futex.waitWhile keeps the process running until it is woken, with a timeout too', async () => {
    const woken = `
      const waiting = other.root.word.waitWhile(0)
      setTimeout(() => { region.root.word.value = 1; region.root.word.notifyAll() }, 50).unref()
      console.log(await waiting)`
    expect(await run(woken)).toEqual({ exitCode: 0, output: 'true' })
    expect(await run('console.log(await other.root.word.waitWhile(0, { timeoutMs: 50 }))')).toEqual({
      exitCode: 0,
      output: 'false',
    })
  })
})
