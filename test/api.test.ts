import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { ApiReporter } from './support/api-report.js'
import { type PublicEntry, publicEntries, root } from './support/public-entries.js'

/** What programs can import is what `api` says. `npm run api` brings it up to date: the change is then seen in review. */

const isUpdating = process.env.ISTHMUS_UPDATE_API === '1'
const folder = join(root, 'api')
const entries = publicEntries()

describe('The reports in the folder api', () => {
  const reporter = new ApiReporter(entries)

  beforeAll(() => {
    if (!isUpdating) return
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder)
  })

  it.each(entries)('say what $title exports', (entry) => {
    const path = join(folder, fileOf(entry))
    const report = reporter.report(entry)
    if (isUpdating) writeFileSync(path, report)
    expect(existsSync(path) ? readFileSync(path, 'utf8') : '', 'npm run api').toBe(report)
  })

  it('are of entries that exist', () => {
    expect(readdirSync(folder).sort()).toEqual(entries.map(fileOf).sort())
  })
})

function fileOf({ title }: PublicEntry): string {
  const words = title.replace('@isthmus/', '').match(/[\w-]+/g) ?? []
  return `${words.join('-')}.md`
}
