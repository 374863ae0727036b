import fs, { closeSync, constants, existsSync, openSync, rmSync, writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { Segment, type SegmentFile } from '@isthmus/shm-posix'
import { BOOT_ID_WORD } from '@isthmus/sync/internal'
import { isWhole, subject } from '../../harness/segment-subject.js'
import { codeOf, expect } from '../expectations.js'
import { type Scenario, scenario } from '../scenario.js'

/** A file beside the segments, where the check for leftovers finds it. */
function whereOf(name: string): SegmentFile {
  return { file: `/dev/shm${name}file` }
}

/** Checks that the file holds a whole segment or can be replaced by one. */
function check({ name }: { name: string }): void {
  const where = whereOf(name)
  const segment = Segment.openOrCreate(where, subject)
  expect(isWhole(segment.root), 'The segment is not whole')
  segment.flush()
  segment.close()
  pretendReboot(where.file)
  const again = Segment.open(where, subject)
  expect(isWhole(again.root), 'The segment is not whole after a reboot')
  again.close()
  Segment.unlink(where)
  expect(!existsSync(where.file), 'The name is still there after an unlink')
}

/** Changes the boot id in the file, so that it looks like a file from before a reboot. */
function pretendReboot(path: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, new Uint8Array(16).fill(7), 0, 16, BOOT_ID_WORD * 4)
  closeSync(fd)
}

/**
 * Checks that after a reboot the file opens, or is refused as unclean because the victim's last writes were not
 * flushed.
 */
function checkAfterReboot({ name }: { name: string }): void {
  const where = whereOf(name)
  pretendReboot(where.file)
  const code = codeOf(() => Segment.open(where, subject).close())
  expect(code === undefined || code === 'ERR_ISTHMUS_UNCLEAN', `Opening it after a reboot: ${code}`)
  if (code !== undefined) Segment.open(where, subject, { recover: true }).close()
  check({ name })
}

/** Makes this process see a file system without unnamed files (O_TMPFILE). */
function withoutUnnamedFiles(): void {
  const open = fs.openSync
  const unnamed = 0o20000000 | constants.O_DIRECTORY
  const openNamed: typeof open = (path, flags, mode) => {
    if (typeof flags !== 'number' || (flags & unnamed) !== unnamed) return open(path, flags, mode)
    throw Object.assign(new Error('EOPNOTSUPP: no unnamed files here'), { code: 'EOPNOTSUPP' })
  }
  Object.assign(fs, { openSync: openNamed })
  syncBuiltinESMExports()
}

function createFile({ name }: { name: string }): void {
  Segment.create(whereOf(name), subject).close()
}

const definition = { layout: subject, isWithoutSegment: true } as const

export const segmentFileScenarios: Scenario<unknown>[] = [
  scenario({
    ...definition,
    name: 'segment file: is created',
    victim: ({ name }) => {
      return () => Segment.create(whereOf(name), subject)
    },
    check,
  }),
  scenario({
    ...definition,
    name: 'segment file: is created where files need a name',
    // An unfinished file has a name of its own in the folder of the segment, so this segment gets a folder.
    prepare: ({ name }) => fs.mkdirSync(`/dev/shm${name}folder`),
    victim({ name }) {
      withoutUnnamedFiles()
      return () => Segment.create({ file: `/dev/shm${name}folder/segment` }, subject)
    },
    check({ name }) {
      const folder = `/dev/shm${name}folder`
      const where = { file: `${folder}/segment` }
      const existed = existsSync(where.file)
      if (existed) {
        const segment = Segment.open(where, subject)
        expect(isWhole(segment.root), 'The segment is not whole')
        segment.close()
        Segment.unlink(where)
      }
      withoutUnnamedFiles()
      Segment.create(where, subject).close()
      const files = fs.readdirSync(folder)
      expect(files.length === 1, `After the next creation there are ${files.join(', ')}`)
      rmSync(folder, { recursive: true })
    },
  }),
  scenario({
    ...definition,
    name: 'segment file: is flushed',
    prepare: createFile,
    victim({ name }) {
      const segment = Segment.open(whereOf(name), subject)
      segment.root[2] = 5
      return () => segment.flush()
    },
    check: checkAfterReboot,
  }),
  scenario({
    ...definition,
    name: 'segment file: is closed by the last one, who flushes it',
    prepare: createFile,
    victim({ name }) {
      const segment = Segment.open(whereOf(name), subject)
      segment.root[2] = 5
      return () => segment.close()
    },
    check: checkAfterReboot,
  }),
  scenario({
    ...definition,
    name: 'segment file: is opened after a reboot',
    prepare({ name }) {
      createFile({ name })
      pretendReboot(whereOf(name).file)
    },
    victim: ({ name }) => {
      return () => Segment.open(whereOf(name), subject)
    },
    check,
  }),
  scenario({
    ...definition,
    name: 'segment file: is recovered after a reboot',
    prepare: (survivor) => {
      survivor.bury()
      pretendReboot(whereOf(survivor.name).file)
    },
    predecessor: ({ name }) => {
      return () => {
        Segment.create(whereOf(name), subject).root[2] = 5
      }
    },
    victim: ({ name }) => {
      return () => Segment.open(whereOf(name), subject, { recover: true })
    },
    check({ name }) {
      const code = codeOf(() => Segment.open(whereOf(name), subject).close())
      expect(code === undefined || code === 'ERR_ISTHMUS_UNCLEAN', `Opening it: ${code}`)
      if (code !== undefined) Segment.open(whereOf(name), subject, { recover: true }).close()
      check({ name })
    },
  }),
]
