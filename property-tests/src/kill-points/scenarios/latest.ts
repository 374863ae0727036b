import { type LatestValue, type LatestWriter, latest } from '@isthmus/ring'
import { type Attached, struct, words } from '@isthmus/sync'
import { expect, expectEqual, HAD_WITHIN_MS } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'
import type { Survivor } from '../survivor.js'
import type { Victim } from '../victim.js'

const BYTES = 64
// The smallest number of slots: the next but one write would reach a reader's slot.
const layout = struct({ cell: latest({ byteLength: BYTES, slots: 2 }), told: words(4) })
type Root = Attached<typeof layout>

/** How many values are written, and their calls have returned. */
const WRITTEN = 0
/** Whether another write may have begun. */
const BEGUN = 1
/** How many values a reader has been given. */
const READ = 2

/** The value of a version: its length, too, says which one it is. */
function valueOfVersion(version: number): Uint8Array {
  return new Uint8Array(8 + (version % 50)).fill(version)
}

function expectWhole({ value, version }: LatestValue<Uint8Array>): void {
  expectEqual([...value], [...valueOfVersion(version)], `Version ${version}`)
}

function writeNext(writer: LatestWriter, told: Int32Array): void {
  told[BEGUN] = 1
  writer.write(valueOfVersion(told[WRITTEN] + 1))
  told[WRITTEN]++
  told[BEGUN] = 0
}

function claimNext(writer: LatestWriter, told: Int32Array): void {
  told[BEGUN] = 1
  const value = valueOfVersion(told[WRITTEN] + 1)
  writer.claim().set(value)
  writer.commit(value.length)
  told[WRITTEN]++
  told[BEGUN] = 0
}

/** What every reader gets at once, wherever the writer is: the last value that was written, or the one that is being written. */
function expectLatest({ cell, told }: Root): number {
  const read = cell.read()
  const version = read?.version ?? 0
  expect(version >= told[WRITTEN], `${told[WRITTEN]} values were written, and version ${version} is read`)
  expect(version <= told[WRITTEN] + told[BEGUN], `Version ${version} is read, of ${told[WRITTEN]} and ${told[BEGUN]}`)
  if (read === undefined) return 0
  expectWhole(read)
  const look = cell.readInPlace((bytes, from, byteLength) => bytes.slice(from, from + byteLength))
  expect(look?.isWhole === true, 'What is shown in place is not whole')
  expectWhole(look)
  const next = cell.nextSync({ after: version - 1, timeoutMs: 0 })
  expectEqual(next?.version, version, 'The next version')
  return version
}

/** Once the victim is dead: the value stands, and a successor goes on from it. */
function check(survivor: Survivor<Root>): void {
  const { root } = survivor
  const version = expectLatest(root)
  const newcomer = survivor.newcomer().root
  expectEqual(newcomer.cell.read()?.version ?? 0, version, 'The version that a newcomer reads')
  const writer = newcomer.cell.writer()
  expectEqual(newcomer.cell.read()?.version ?? 0, version, 'The version once there is a successor')
  for (let next = version + 1; next < version + 4; next++) {
    expectEqual(writer.write(valueOfVersion(next)), next, 'The version that a successor writes')
    const read = root.cell.read()
    expectEqual(read?.version, next, 'The version that is read after it')
    if (read !== undefined) expectWhole(read)
  }
  writer.close()
}

function checkSwept(survivor: Survivor<Root>): void {
  expectEqual(survivor.root.cell.describe().waitingReaders, [], 'Waiting readers after a sweep')
  check(survivor)
}

/** A stopped writer: readers go on. */
function readBeside({ root }: Survivor<Root>): void {
  for (let time = 0; time < 50; time++) expectLatest(root)
}

/** The same, and none takes its role. */
function readBesideHolder(survivor: Survivor<Root>): void {
  readBeside(survivor)
  expectEqual(survivor.root.cell.tryWriter(), undefined, 'Another writer beside the stopped one')
}

function writes(write: (writer: LatestWriter, told: Int32Array) => void, count = 3) {
  return ({ root }: Victim<Root>) => {
    const writer = root.cell.writer()
    return () => {
      for (let time = 0; time < count; time++) write(writer, root.told)
    }
  }
}

/** The victim begins when the survivor sleeps. */
function writesForSleeper(write: (writer: LatestWriter, told: Int32Array) => void) {
  return (victim: Victim<Root>) => {
    const writer = victim.root.cell.writer()
    victim.beginsWhen(() => victim.root.cell.describe().waitingReaders.length > 0)
    return () => write(writer, victim.root.told)
  }
}

/** The survivor waits for the first value. If the victim dies before it has written one, a successor does. */
const blocked = {
  isMeanwhileWaiting: true,
  meanwhile(survivor: Survivor<Root>) {
    for (let version = 0; version === 0; ) {
      const next = survivor.root.cell.nextSync({ timeoutMs: 50 })
      if (next !== undefined) expectWhole(next)
      version = next?.version ?? (survivor.isVictimAtWork ? 0 : -1)
    }
  },
  check,
} as const

const awaiting = {
  isMeanwhileWaiting: true,
  isSurvivorAwaiting: true,
  async meanwhile(survivor: Survivor<Root>) {
    for (let version = 0; version === 0; ) {
      const next = await survivor.root.cell.next({ timeoutMs: 50 })
      if (next !== undefined) expectWhole(next)
      version = next?.version ?? (survivor.isVictimAtWork ? 0 : -1)
    }
  },
  check,
} as const

/** The survivor writes one value, then more for as long as the victim reads. */
function prepareValue({ root }: Survivor<Root>): LatestWriter {
  const writer = root.cell.writer()
  writeNext(writer, root.told)
  return writer
}

function writeBeside(survivor: Survivor<Root>, writer: LatestWriter): void {
  for (let time = 0; time < 40; time++) {
    writeNext(writer, survivor.root.told)
    expectLatest(survivor.root)
  }
}

/** A reader that is dead has held nothing: the writer goes on. */
function checkReader(survivor: Survivor<Root>, writer: LatestWriter): void {
  writeNext(writer, survivor.root.told)
  writer.close()
  check(survivor)
}

function checkReaderSwept(survivor: Survivor<Root>, writer: LatestWriter): void {
  expectEqual(survivor.root.cell.describe().waitingReaders, [], 'Waiting readers after a sweep')
  checkReader(survivor, writer)
}

export const latestScenarios: Scenario<unknown>[] = [
  scenario({
    name: 'latest writer: writes',
    layout,
    victim: writes(writeNext),
    check,
    checkSwept,
    whileStopped: readBesideHolder,
  }),
  scenario({
    name: 'latest writer: writes in place',
    layout,
    victim: writes(claimNext),
    check,
    checkSwept,
    whileStopped: readBesideHolder,
  }),
  scenario({
    name: 'latest writer: writes for one who blocks',
    layout,
    victim: writesForSleeper(writeNext),
    ...blocked,
  }),
  scenario({
    name: 'latest writer: writes in place for one who awaits',
    layout,
    victim: writesForSleeper(claimNext),
    ...awaiting,
  }),
  scenario({
    name: 'latest writer: succeeds a dead one',
    layout,
    prepare: (survivor: Survivor<Root>) => survivor.bury(),
    predecessor({ root }: Victim<Root>) {
      const writer = root.cell.writer()
      return () => {
        writeNext(writer, root.told)
        writer.claim().fill(99)
      }
    },
    victim({ root }: Victim<Root>) {
      return () => writeNext(root.cell.writer(), root.told)
    },
    check,
    checkSwept,
    whileStopped: readBeside,
  }),
  scenario({
    name: 'latest writer: closes',
    layout,
    victim({ root }: Victim<Root>) {
      const writer = root.cell.writer()
      writeNext(writer, root.told)
      writer.claim().fill(99)
      return () => writer.close()
    },
    check,
    checkSwept,
    whileStopped: readBeside,
  }),
  scenario({
    name: 'latest reader: reads',
    layout,
    prepare: prepareValue,
    victim: ({ root }: Victim<Root>) => {
      const into = new Uint8Array(BYTES)
      return () => {
        for (const read of [root.cell.read(), root.cell.read({ into })]) {
          if (read === undefined) throw new Error('There is no value')
          expectWhole(read)
          root.told[READ]++
        }
        root.cell.readInPlace((bytes, from) => bytes[from])
      }
    },
    meanwhile: writeBeside,
    check: checkReader,
    checkSwept: checkReaderSwept,
    whileStopped: writeBeside,
  }),
  scenario({
    name: 'latest reader: blocks for the next value',
    layout,
    prepare: prepareValue,
    meanwhile(survivor: Survivor<Root>, writer: LatestWriter) {
      survivor.untilVictim(() => survivor.root.cell.describe().waitingReaders.length > 0)
      writeNext(writer, survivor.root.told)
    },
    victim: ({ root }: Victim<Root>) => {
      return () => expectWhole(root.cell.nextSync({ after: 1 }))
    },
    check: checkReader,
    checkSwept: checkReaderSwept,
    whileStopped: (survivor: Survivor<Root>, writer: LatestWriter) => {
      for (let time = 0; time < 10; time++) writeNext(writer, survivor.root.told)
      expectLatest(survivor.root)
    },
  }),
  scenario({
    name: 'latest reader: awaits the next value',
    layout,
    isVictimAwaiting: true,
    prepare: prepareValue,
    meanwhile(survivor: Survivor<Root>, writer: LatestWriter) {
      survivor.untilVictim(() => survivor.root.cell.describe().waitingReaders.length > 0)
      writeNext(writer, survivor.root.told)
    },
    victim: ({ root }: Victim<Root>) => {
      return async () => expectWhole((await root.cell.next({ after: 1, timeoutMs: HAD_WITHIN_MS })) as never)
    },
    check: checkReader,
  }),
]
