import { describe, expect, it } from 'vitest'
import { outcomeOf } from '../support/outcome-at-edge.js'

const WRITING = ['write', 'claim'] as const
const READING = ['read', 'into', 'inPlace', 'nextSync'] as const

describe('At the edge of the stack', () => {
  it.each(WRITING)('%s: a value that could not be written is not there, and the next one is', async (way) => {
    const { errors, told, found } = await outcomeOf(way, ({ HeapRegion, latest }, way, atTheEdge, rounds) => {
      const { root } = HeapRegion.create(latest({ byteLength: 64, slots: 2 }))
      const writer = root.writer()
      const value = new Uint8Array(64)
      const told: number[] = []
      const found: number[] = []
      let number = 0
      let claim: Uint8Array | undefined
      const actions: Record<string, () => void> = {
        write() {
          number = number + 1
          value[0] = number
          value[63] = number
          writer.write(value)
          told[told.length] = number & 255
        },
        claim() {
          number = number + 1
          // If the rest throws, the claim stays open for the next call.
          claim ??= writer.claim()
          claim[0] = number
          claim[63] = number
          writer.commit()
          claim = undefined
          told[told.length] = number & 255
        },
      }
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        errors += atTheEdge(actions[way], 2, () => {
          const read = root.read()
          if (read === undefined) throw new Error('nothing was written')
          const [first, last] = [read.value[0], read.value[63]]
          if (first !== last) throw new Error(`version ${read.version} is torn: ${first}, ${last}`)
          if (first !== told[told.length - 1]) throw new Error(`told ${told[told.length - 1]}, found ${first}`)
        })
        found.push(root.version)
      }
      return { errors, told: [told.length], found: found.slice(-1) }
    })
    expect(errors).toBeGreaterThan(0)
    expect(found).toEqual(told)
  })

  it.each(READING)('%s: what a read gives is whole', async (way) => {
    const { errors, told, found } = await outcomeOf(way, ({ HeapRegion, latest }, way, atTheEdge, rounds) => {
      const { root } = HeapRegion.create(latest({ byteLength: 64, slots: 2 }))
      const writer = root.writer()
      const value = new Uint8Array(64)
      const into = new Uint8Array(64)
      const ends = (bytes: Uint8Array, from: number, byteLength: number) =>
        byteLength === 64 ? bytes[from] * 256 + bytes[from + 63] : -1
      const told: number[] = []
      const found: number[] = []
      const actions: Record<string, () => void> = {
        read() {
          found[found.length] = ends(root.read()?.value as Uint8Array, 0, 64)
        },
        into() {
          found[found.length] = ends(root.read({ into })?.value as Uint8Array, 0, 64)
        },
        inPlace() {
          found[found.length] = root.readInPlace(ends)?.value as number
        },
        nextSync() {
          found[found.length] = ends(root.nextSync().value, 0, 64)
        },
      }
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const number = round + 1
        value.fill(number)
        writer.write(value)
        into.fill(0)
        errors += atTheEdge(actions[way], 2)
        while (told.length < found.length) told.push(number * 257)
      }
      return { errors, told, found }
    })
    expect(errors).toBeGreaterThan(0)
    expect(found.length).toBeGreaterThan(8)
    expect(found).toEqual(told)
  })
})
