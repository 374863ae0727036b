import { describe, expect, test } from 'vitest'
import { outcomeOf } from '../support/outcome-at-edge.js'

describe('at the edge of the stack', () => {
  const ways = [
    'tryPublish',
    'publishSync',
    'tryClaim and commit',
    'corked',
    'tryPublishBatch',
    'publishBatchSync',
    'publishSync in fragments',
    'publishBatchSync in fragments',
  ]

  test.each(ways)('%s: what it says is published is published, once, whole and with its number', async (publishing) => {
    const { errors, told, found } = await outcomeOf(
      publishing,
      ({ HeapRegion, broadcastRing }, way, atTheEdge, rounds) => {
        const isLarge = way.endsWith('in fragments')
        const capacityBytes = isLarge ? 1 << 14 : 1 << 16
        const region = HeapRegion.create(broadcastRing({ capacityBytes }))
        const publisher = region.root.publisher()
        const { words } = region
        const mask = capacityBytes - 1
        // A claim in an empty ring begins after the header and the number of its record. Without gates, the records begin 768
        // bytes after the ring.
        const records = (publisher.tryClaim(8) - 16) >>> 2
        publisher.abort()
        const base = records - 768 / 4
        const writePosition = () => Atomics.load(words, base + 32)
        const byteLength = isLarge ? 8_192 : 8
        const messages = Array.from({ length: isLarge ? 300 : 2_000 }, (_, at) => {
          const message = new Uint8Array(byteLength).fill(at)
          message[0] = at >> 8
          return message
        })
        let sent = 0
        let isClaimOpen = false
        const counted = (act: () => number) => {
          try {
            sent = sent + act()
          } catch (error) {
            const before = (error as { sent?: number }).sent
            if (before !== undefined) sent = sent + before
            throw error
          }
        }
        let corked = 0
        const actions: Record<string, () => void> = {
          tryPublish() {
            if (publisher.tryPublish(messages[sent])) sent = sent + 1
          },
          publishSync() {
            if (publisher.publishSync(messages[sent])) sent = sent + 1
          },
          'tryClaim and commit'() {
            if (isClaimOpen) publisher.abort()
            isClaimOpen = false
            const byteOffset = publisher.tryClaim(8)
            isClaimOpen = true
            publisher.bytes.set(messages[sent], byteOffset)
            publisher.commit()
            isClaimOpen = false
            sent = sent + 1
          },
          corked() {
            if (corked === 0) {
              publisher.cork()
              corked = 1
            }
            if (publisher.tryPublish(messages[sent])) sent = sent + 1
            publisher.uncork()
            corked = 0
          },
          tryPublishBatch() {
            sent = sent + publisher.tryPublishBatch([messages[sent], messages[sent + 1], messages[sent + 2]])
          },
          publishBatchSync() {
            const batch = [messages[sent], messages[sent + 1], messages[sent + 2]]
            counted(() => publisher.publishBatchSync(batch))
          },
          'publishSync in fragments'() {
            if (publisher.publishSync(messages[sent])) sent = sent + 1
          },
          'publishBatchSync in fragments'() {
            counted(() => publisher.publishBatchSync([messages[sent]]))
          },
        }
        const found: number[] = []
        let cursor = 0
        let open: { number: number; total: number; bytes: number[] } | undefined
        /** As layout.ts says; -1 for a message that is not whole, -2 for a number that is wrong. */
        const readAll = () => {
          while (cursor !== writePosition()) {
            const word = records + ((cursor & mask) >> 2)
            const length = words[word]
            const kind = words[word + 1] & 0xff
            const start = (word + 2) * 4
            cursor = cursor + ((length + 15) & -8)
            if (kind === 2) continue
            if (kind === 6) {
              open = undefined
              continue
            }
            const prefix = kind === 3 ? 16 : 8
            const bytes = Array.from(region.bytes.subarray(start + prefix, start + length))
            if (kind === 1 || kind === 3) open = { number: words[word + 2], total: words[word + 4], bytes: [] }
            if (open === undefined) throw new Error('a fragment without a beginning')
            if (words[word + 2] !== open.number) found.push(-2)
            open.bytes.push(...bytes)
            if (kind !== 1 && kind !== 5) continue
            const { bytes: whole, number } = open
            const isWhole = whole.length === byteLength && whole.every((byte, at) => at === 0 || byte === whole[1])
            if (number !== found.length) found.push(-2)
            found.push(isWhole ? (whole[0] << 8) | whole[1] : -1)
            open = undefined
          }
        }
        let errors = 0
        for (let round = 0; round < rounds; round++) {
          errors += atTheEdge(actions[way], isLarge ? 1 : 2, readAll)
          if (corked !== 0) publisher.uncork()
          corked = 0
          readAll()
        }
        if (isClaimOpen) publisher.abort()
        const { publishedMessages } = region.root.describe()
        return { errors, told: [...Array(sent).keys(), sent], found: [...found, publishedMessages] }
      },
    )
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual(told)
  })

  test.each(['publisher', 'tryPublisher'])('%s that fails at the edge has taken no role', async (way) => {
    const { errors, found } = await outcomeOf(way, ({ HeapRegion, broadcastRing }, take, atTheEdge, rounds) => {
      const layout = broadcastRing({ capacityBytes: 1024, gates: 2 })
      const found: number[] = []
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const { root } = HeapRegion.create(layout)
        const held: { close(): void }[] = []
        const act = () => {
          const handle = (root as unknown as Record<string, () => { close(): void } | undefined>)[take]()
          if (handle) held.push(handle)
        }
        errors += atTheEdge(act, 1, () => {
          for (const handle of held.splice(0)) handle.close()
          if (root.describe().publisher.state === 'held') found.push(round)
        })
      }
      return { errors, told: [], found }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual([])
  })

  test('close that fails at the edge can be repeated, and gives the role back', async () => {
    const { errors, found } = await outcomeOf('', ({ HeapRegion, broadcastRing }, _way, atTheEdge, rounds) => {
      const { root } = HeapRegion.create(broadcastRing({ capacityBytes: 1024 }))
      const found: number[] = []
      let errors = 0
      for (let round = 0; round < rounds; round++) {
        const publisher = root.publisher()
        publisher.tryPublish(new Uint8Array([round]))
        errors += atTheEdge(() => publisher.close(), 1)
        publisher.close()
        if (root.describe().publisher.state !== 'closed') found.push(round)
      }
      return { errors, told: [], found: [...found, root.describe().publishedMessages - rounds] }
    })
    expect(errors).toBeGreaterThan(10)
    expect(found).toEqual([0])
  })
})
