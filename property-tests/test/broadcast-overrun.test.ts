import { readFileSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import { afterEach, describe, expect, it } from 'vitest'
import { Agent, endAllAgents } from '../src/harness/agent.js'
import { watchedBroadcast } from '../src/harness/broadcast-layout.js'
import { type BroadcastNotes, beginningOf, faultsOfNotes, type Way } from '../src/harness/broadcast-notes.js'
import { StampedMessages } from '../src/harness/stamped-messages.js'
import { removeTestSegments, uniqueName } from '../src/harness/test-segments.js'

const MIB = 2 ** 20
const GIB = 2 ** 30
const OPTIONS = { capacityBytes: 64 * MIB }
/** A record of exactly 1 MiB, with its header and its number. */
const LARGE_BYTES = MIB - 16
const WATCHDOG_MS = 60_000

afterEach(async () => {
  await endAllAgents()
  removeTestSegments()
})

const watchdog = { interval: 1, timeout: WATCHDOG_MS }

function isStopped({ pid }: Agent): boolean {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].startsWith('T')
}

/** Subscribers in processes of their own, one for each way of receiving, and this process as the publisher. */
async function start(ways: readonly Way[]) {
  const name = uniqueName()
  const segment = Segment.create(name, watchedBroadcast(OPTIONS))
  const { ring, next, begun } = segment.root
  const messages = new StampedMessages()
  const publisher = ring.publisher()
  let published = 0
  const agents = await Promise.all(ways.map(() => Agent.start('broadcast-agent')))
  const notes = agents.map((agent, index) => {
    const subscription = { onOverrun: index % 2 === 0 ? 'throw' : 'skip' }
    return agent.call<BroadcastNotes>('receive', {
      region: { name },
      options: OPTIONS,
      subscription,
      way: ways[index],
      index,
    })
  })
  await expect.poll(() => ways.every((_, index) => begun[index].value === 1), watchdog).toBe(true)
  return {
    notes,
    get published() {
      return published
    },
    publish(byteLength: number): void {
      if (!publisher.tryPublish(messages.at(published, byteLength))) throw new Error('A ring without gates was full')
      published++
    },
    progress: () => ways.map((_, index) => next[index].value),
    async stopAll(): Promise<void> {
      for (const agent of agents) agent.signal('SIGSTOP')
      await expect.poll(() => agents.every(isStopped), watchdog).toBe(true)
    },
    goOn(): void {
      for (const agent of agents) agent.signal('SIGCONT')
    },
    async end(): Promise<BroadcastNotes[]> {
      publisher.close()
      const all = await Promise.all(notes)
      segment.close()
      Segment.unlink(name)
      return all
    },
  }
}

describe('A lossy subscriber that is stopped while more than 4 GiB go by', { timeout: 120_000 }, () => {
  it('anywhere at work: is told the exact count, receives whole messages, and goes on', async () => {
    const ways: Way[] = ['sync', 'drain', 'chunks']
    const world = await start(ways)
    // It takes messages, and is stopped anywhere in that.
    const busyEndMs = performance.now() + WATCHDOG_MS
    while (world.progress().some((number) => number < 20)) {
      if (performance.now() > busyEndMs) throw new Error('The subscribers receive nothing')
      const isAhead = world.published > Math.min(...world.progress()) + 20
      if (!isAhead) world.publish(LARGE_BYTES - (world.published % 7) * 100_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await world.stopAll()
    // Little more than 4 GiB: by the low words alone, nothing that it has not read would be overwritten.
    for (let bytes = 0; bytes < 4 * GIB + 10 * MIB; bytes += LARGE_BYTES - 1234) world.publish(LARGE_BYTES - 1234)
    world.goOn()
    const resumedAt = world.published
    // The stream goes on, while they catch up.
    while (world.progress().some((number) => number < resumedAt + 50)) {
      if (performance.now() > busyEndMs) throw new Error(`The subscribers are at ${world.progress()}`)
      world.publish(1000)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const all = await world.end()
    for (const [index, notes] of all.entries()) {
      expect(faultsOfNotes(notes, world.published), ways[index]).toEqual([])
      expect(beginningOf(notes, world.published), ways[index]).toBe(0)
      expect(notes.lost, ways[index]).toBeGreaterThan(4000)
      expect(notes.received, ways[index]).toBeGreaterThan(50)
      // The one that skips is told if it has seen a part of what was overwritten.
      if (index % 2 === 0) expect(notes.toldLost, ways[index]).toBe(notes.lost)
    }
  })

  it('exactly 4 GiB, and asleep: finds what is there, though the low words are as before', async () => {
    const ways: Way[] = ['sync', 'async', 'poll']
    const world = await start(ways)
    for (let count = 0; count < 3; count++) world.publish(LARGE_BYTES)
    await expect.poll(world.progress, watchdog).toEqual(ways.map(() => 3))
    await new Promise((resolve) => setTimeout(resolve, 50))
    await world.stopAll()
    for (let count = 0; count < 4096; count++) world.publish(LARGE_BYTES)
    world.goOn()
    // Nothing more is published: what is there must be found.
    await expect.poll(world.progress, watchdog).toEqual(ways.map(() => world.published))
    const all = await world.end()
    for (const [index, notes] of all.entries()) {
      expect(faultsOfNotes(notes, world.published), ways[index]).toEqual([])
      expect(beginningOf(notes, world.published), ways[index]).toBe(0)
      expect(notes.lost, ways[index]).toBeGreaterThanOrEqual(4096 - 64)
      expect(notes.lost, ways[index]).toBeLessThan(4096)
    }
  })
})
