import { type Latest, type LatestValue, type LatestWriter, latest } from '@isthmus/ring'
import type { HeapRegion } from '@isthmus/sync'
import {
  CURRENT_OFFSET,
  LENGTH_WORD,
  nextVersion,
  SLOT_HEADER_BYTES,
  SLOTS_OFFSET,
  slotOfVersion,
  strideOf,
  VERSION_MAX,
} from '../../../../packages/ring/src/latest/layout.js'
import { type AgentTools, agent, type RegionWords, type Scenario, scenario } from '../scenario.js'
import { latestNames } from '../word-names.js'

const BYTES = 8
/** The first writer fills its values with numbers from 1 on, its successor from 101 on. */
const SUCCESSOR = 100

/** A value as a reader has seen it: its bytes, which must all be the same, and its version. */
interface Seen {
  readonly bytes: readonly number[]
  readonly version: number
}

/** The words of a latest value at the start of the root, read as layout.ts explains them: apart from the code that is under test. */
class LatestMemory {
  readonly #words: Int32Array
  readonly #start: number
  readonly #slots: number

  constructor({ words, rootByteOffset }: RegionWords, slots: number) {
    this.#words = words
    this.#start = rootByteOffset
    this.#slots = slots
  }

  /** Lets the versions go on from this one, whose value is filled with 0. */
  startAt(version: number): void {
    const header = this.#headerOf(version)
    this.#words[header] = version
    this.#words[header + LENGTH_WORD] = BYTES
    this.#words[this.#currentWord] = version
  }

  get current(): number {
    return this.#words[this.#currentWord] >>> 0
  }

  /** At every moment, whatever the writer does or has left half-done, the current slot is whole. */
  wrongMoment(start: number): string | undefined {
    const { current } = this
    if (current === 0) return start === 0 ? undefined : 'the current version is 0'
    const header = this.#headerOf(current)
    if (this.#words[header] >>> 0 !== current) return `version ${current} is current, and its slot has another stamp`
    if (this.#words[header + LENGTH_WORD] !== BYTES) return `version ${current} has another length`
    return wrongBytes({ bytes: this.#bytesAt(header), version: current })
  }

  get latest(): Seen {
    return { bytes: this.#bytesAt(this.#headerOf(this.current)), version: this.current }
  }

  get #currentWord(): number {
    return (this.#start + CURRENT_OFFSET) >>> 2
  }

  #headerOf(version: number): number {
    return (this.#start + SLOTS_OFFSET + slotOfVersion(version, this.#slots) * strideOf(BYTES)) >>> 2
  }

  #bytesAt(header: number): number[] {
    const { buffer, byteOffset } = this.#words
    return [...new Uint8Array(buffer, byteOffset + header * 4 + SLOT_HEADER_BYTES, BYTES)]
  }
}

function wrongBytes({ bytes, version }: Seen): string | undefined {
  return new Set(bytes).size === 1 && bytes.length === BYTES
    ? undefined
    : `version ${version} is torn: ${bytes.join(' ')}`
}

function seenOf(value: LatestValue<Uint8Array> | undefined): Seen | undefined {
  return value && { bytes: [...value.value], version: value.version }
}

/** How many writes lie between two versions. */
function writesFrom(version: number, to: number, slots: number): number {
  let writes = 0
  for (let at = version; at !== to; writes++) {
    if (writes > 20) return Number.NaN
    at = nextVersion(at, slots)
  }
  return writes
}

function writeValues(writer: LatestWriter, count: number, from: number): number[] {
  return Array.from({ length: count }, (_, at) => writer.write(new Uint8Array(BYTES).fill(from + at)))
}

/** A case of a latest value whose versions begin at `start`, and what its scenarios share. */
class LatestCase {
  readonly layout
  readonly #slots: number
  readonly #start: number

  constructor(slots: number, start: number) {
    this.#slots = slots
    this.#start = start
    this.layout = latest({ byteLength: BYTES, slots })
  }

  scenario(definition: {
    readonly name: string
    readonly about: string
    readonly agents: Scenario<Latest>['agents']
    readonly mayCrash?: readonly string[]
    /** Of what the agents named `reader` have seen. */
    readonly readers: readonly string[]
    /** The last value that a reader must have seen at the end, if no agent has crashed. */
    readonly written: number
  }): Scenario<Latest> {
    const { readers, written, ...rest } = definition
    const start = this.#start
    const slots = this.#slots
    return scenario({
      ...rest,
      ...latestNames('cell', 0, BYTES, slots),
      layout: this.layout,
      racedFromByteOffset: SLOTS_OFFSET,
      setUp: (region) => new LatestMemory(region, slots).startAt(start),
      invariant: (region) => new LatestMemory(region, slots).wrongMoment(start),
      check({ returned, crashed, region }) {
        const memory = new LatestMemory(region, slots)
        for (const reader of readers) {
          const seen = returned(reader) as (Seen | undefined)[] | undefined
          const wrong = seen && wrongSeen(seen, start, slots)
          if (wrong !== undefined) return `${reader}: ${wrong}`
        }
        const writes = writesFrom(start, memory.current, slots)
        if (crashed === undefined && writes !== written) return `${writes} values are written, and not ${written}`
        return undefined
      },
    })
  }

  /** Writes so many values. */
  writes(count: number) {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.writer(),
      run(writer) {
        writeValues(writer, count, 1)
        writer.close()
      },
    })
  }

  /** Writes one value in place. */
  claims() {
    return agent(this.layout, {
      prepare: (tools) => tools.attach().root.writer(),
      run(writer) {
        for (const number of [1, 2]) {
          writer.claim().set(new Uint8Array(BYTES).fill(number))
          writer.commit()
        }
        writer.close()
      },
    })
  }

  /** Reads so many times. */
  reads(count: number) {
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run: ({ root }) => Array.from({ length: count }, () => seenOf(root.read())),
    })
  }

  /** Looks in place; what was overtaken counts as nothing. */
  looks(count: number) {
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run: ({ root }) =>
        Array.from({ length: count }, () => {
          const look = root.readInPlace((bytes, from, byteLength) => [...bytes.slice(from, from + byteLength)])
          return look?.isWhole === true ? { bytes: look.value, version: look.version } : undefined
        }).filter((seen) => seen !== undefined),
    })
  }

  /** Blocks until there is a newer value, so many times. */
  waits(count: number) {
    const start = this.#start
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run({ root }) {
        const seen: (Seen | undefined)[] = []
        for (let after = start; seen.length < count; after = seen.at(-1)?.version ?? 0) {
          seen.push(seenOf(root.nextSync({ after })))
        }
        return seen
      },
    })
  }

  /** The same on an event loop. */
  awaits() {
    const start = this.#start
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run: async ({ root }) => [seenOf(await root.next({ after: start }))],
    })
  }

  /** Declares the death of a writer that has crashed, becomes the writer, writes one value, and reads it. */
  succeeds() {
    return agent(this.layout, {
      prepare: (tools) => openFor(tools),
      run(region, tools) {
        const dead = tools.awaitCrash()
        if (dead === undefined) return undefined
        region.declareDead(dead)
        const writer = region.root.writer()
        writeValues(writer, 1, SUCCESSOR + 1)
        const seen = seenOf(region.root.read())
        writer.close()
        tools.endSlices()
        return [seen]
      },
    })
  }
}

/** Attaches, and lets the memory be mapped: that is no part of a schedule. */
function openFor(tools: AgentTools<Latest>): HeapRegion<Latest> {
  const region = tools.attach()
  void region.root.version
  return region
}

/** Each value is whole, and none is older than one that the same reader has seen before. */
function wrongSeen(seen: readonly (Seen | undefined)[], start: number, slots: number): string | undefined {
  let last = 0
  for (const value of seen) {
    if (value === undefined) return 'it was told that nothing was ever written'
    const wrong = wrongBytes(value)
    if (wrong !== undefined) return wrong
    const writes = writesFrom(start, value.version, slots)
    const [number] = value.bytes
    const isKnown = number === writes || (number > SUCCESSOR && writes > 0)
    if (!isKnown) return `version ${value.version}, which is write ${writes}, has the value ${number}`
    if (writes < last) return `it has seen write ${last}, and then ${writes}`
    last = writes
  }
  return undefined
}

/** Two slots, so that the next but one write reaches a reader's slot; the versions wrap with the second write. */
const wrapping = new LatestCase(2, VERSION_MAX - 1)
const fresh = new LatestCase(2, 2)
const three = new LatestCase(3, VERSION_MAX - 1)

export const latestScenarios = [
  wrapping.scenario({
    name: 'latest-overtake',
    about:
      'A writer writes three values to two slots, over the wrap of the versions, while a reader reads twice. Each value is whole, and the second one is not older.',
    agents: { writer: wrapping.writes(3), reader: wrapping.reads(2) },
    readers: ['reader'],
    written: 3,
  }),
  three.scenario({
    name: 'latest-three-slots',
    about: 'The same with three slots, and a reader that looks in place: what it is told was whole, is.',
    agents: { writer: three.writes(3), reader: three.looks(2) },
    readers: ['reader'],
    written: 3,
  }),
  fresh.scenario({
    name: 'latest-claim',
    about: 'A writer writes two values in place, while a reader looks in place twice, and another one reads.',
    agents: { writer: fresh.claims(), looker: fresh.looks(1), reader: fresh.reads(1) },
    readers: ['looker', 'reader'],
    written: 2,
  }),
  wrapping.scenario({
    name: 'latest-crash',
    about:
      'A writer may crash at any operation of its write, while a reader reads twice. Its death is declared, and a successor writes one value. The reader always gets a whole value, none is older than the one before, and the successor reads what it has written.',
    mayCrash: ['writer'],
    agents: { writer: wrapping.writes(1), reader: wrapping.reads(2), successor: wrapping.succeeds() },
    readers: ['reader', 'successor'],
    written: 1,
  }),
  wrapping.scenario({
    name: 'latest-sleep',
    about: 'Two readers wait for a newer value, while a writer writes one. Both are woken.',
    agents: { writer: wrapping.writes(1), reader: wrapping.waits(1), other: wrapping.waits(1) },
    readers: ['reader', 'other'],
    written: 1,
  }),
  fresh.scenario({
    name: 'latest-sleep-mixed',
    about: 'A thread and an event loop wait for a newer value, while a writer writes one. Both are woken.',
    agents: { writer: fresh.writes(1), reader: fresh.waits(1), loop: fresh.awaits() },
    readers: ['reader', 'loop'],
    written: 1,
  }),
  fresh.scenario({
    name: 'latest-sleep-crash',
    about:
      'A reader waits for a newer value, while a writer writes one and may crash at any operation. A successor then writes one. The reader gets a value of one of them.',
    mayCrash: ['writer'],
    agents: { writer: fresh.writes(1), reader: fresh.waits(1), successor: fresh.succeeds() },
    readers: ['reader', 'successor'],
    written: 1,
  }),
]
