import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** A comment that begins with `SYNC` and the words of the label; an explanation may follow after a colon. */
const LABEL = /(?:\/\/|\*) +SYNC ([^:\n]+)/g

const packages = fileURLToPath(new URL('../../packages', import.meta.url))

interface Source {
  readonly name: string
  readonly text: string
}

function sourcesOfThePackages(): Source[] {
  const names = readdirSync(packages, { recursive: true, encoding: 'utf8' })
  const sources = names.filter((name) => /^[^/]+\/src\/.*\.ts$/.test(name))
  return sources.map((name) => ({ name, text: readFileSync(`${packages}/${name}`, 'utf8') }))
}

function placesByLabel(sources: readonly Source[]): Map<string, string[]> {
  const places = new Map<string, string[]>()
  for (const { name, text } of sources) {
    for (const { 1: words, index } of text.matchAll(LABEL)) {
      const label = words.replace(/\*\/$/, '').trim()
      const line = text.slice(0, index).split('\n').length
      places.set(label, [...(places.get(label) ?? []), `${name}:${line}`])
    }
  }
  return places
}

/** A label found once names only one end of a publication: a store without its load, or a load without its store. */
function oneEnded(sources: readonly Source[]): string[] {
  const alone = [...placesByLabel(sources)].filter(([, { length }]) => length === 1)
  return alone.map(([label, [place]]) => `${place} SYNC ${label}`)
}

describe('SYNC labels', () => {
  it('stand at both ends of each publication in packages/*/src', () => {
    const sources = sourcesOfThePackages()
    expect(placesByLabel(sources).size).toBeGreaterThan(3)
    expect(oneEnded(sources)).toEqual([])
  })

  it('are told apart by their words, and not by what explains them', () => {
    const text = [
      '// SYNC records visible to consumer: everything before this position',
      '/** SYNC records visible to consumer */',
      '  // SYNC space visible to producer',
      'const MS_SYNC = 4',
    ].join('\n')
    expect(oneEnded([{ name: 'ring.ts', text }])).toEqual(['ring.ts:3 SYNC space visible to producer'])
  })
})
