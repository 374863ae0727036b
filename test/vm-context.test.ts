import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const program = fileURLToPath(new URL('worlds/in-vm-context.mjs', import.meta.url))

/** `npm run test:worlds` does the same in test runners and in bundles. */
it.each(['own', 'outside'])('everything works in a vm context with %s buffers', (buffers) => {
  const folder = mkdtempSync(join(tmpdir(), 'isthmus-vm-context-'))
  try {
    const flags = ['--no-warnings', '--experimental-vm-modules']
    const place = [`/isthmus-vm-context-${process.pid}`, join(folder, 'segment'), buffers]
    const output = execFileSync(process.execPath, [...flags, program, ...place], { encoding: 'utf8', timeout: 60_000 })
    expect(output).toBe('ok\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})
