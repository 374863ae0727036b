import type { Mutant } from './mutant.js'
import { hostile, interleaver, killPoints, tests } from './rung.js'

const LATEST = 'packages/ring/src/latest'

/** Mistakes in the latest value. Its steps are numbered in its layout.ts. */
export const latestMutants: readonly Mutant[] = [
  {
    name: 'V1 is left out: a slot keeps its stamp while it is overwritten',
    file: `${LATEST}/writer.ts`,
    from: `    Atomics.store(words, header, 0)
    Atomics.load(words, header)
    this.#bytes.set(bytes, header * 4 + SLOT_HEADER_BYTES)
`,
    to: '    this.#bytes.set(bytes, header * 4 + SLOT_HEADER_BYTES)\n',
    rung: interleaver('latest-overtake'),
    isBrief: true,
  },
  {
    name: 'V1 is left out in a claim',
    file: `${LATEST}/writer.ts`,
    from: `    Atomics.store(this.#words, header, 0)
    Atomics.load(this.#words, header)
    this.#state = CLAIMED
`,
    to: '    this.#state = CLAIMED\n',
    rung: interleaver('latest-claim'),
  },
  {
    name: 'V4 comes before V3: a version is current before its slot has its stamp',
    file: `${LATEST}/writer.ts`,
    from: `    Atomics.store(this.#words, header, version)
    // SYNC value visible to reader
    Atomics.store(this.#words, this.#currentWord, version)
`,
    to: `    Atomics.store(this.#words, this.#currentWord, version)
    Atomics.store(this.#words, header, version)
`,
    rung: interleaver('latest-overtake'),
  },
  {
    name: 'V4 comes before V3, and the writer is killed in between',
    file: `${LATEST}/writer.ts`,
    from: `    Atomics.store(this.#words, header, version)
    // SYNC value visible to reader
    Atomics.store(this.#words, this.#currentWord, version)
`,
    to: `    Atomics.store(this.#words, this.#currentWord, version)
    Atomics.store(this.#words, header, version)
`,
    rung: killPoints('latest writer: writes'),
  },
  {
    name: 'the length of a value is written after the value is published',
    file: `${LATEST}/writer.ts`,
    from: `    words[header + LENGTH_WORD] = length
    this.#publish(header, version)
`,
    to: `    this.#publish(header, version)
    words[header + LENGTH_WORD] = length
`,
    rung: interleaver('latest-overtake'),
  },
  {
    name: 'V5 is left out: no reader is woken',
    file: `${LATEST}/writer.ts`,
    from: `    this.#state = IDLE
    try {
      this.#readers.notifyAll()
`,
    to: `    this.#state = IDLE
    try {
      if (version === 0) this.#readers.notifyAll()
`,
    rung: interleaver('latest-sleep'),
  },
  {
    name: 'V5 wakes one reader',
    file: `${LATEST}/writer.ts`,
    from: `    this.#state = IDLE
    try {
      this.#readers.notifyAll()
`,
    to: `    this.#state = IDLE
    try {
      this.#readers.notifyOne()
`,
    rung: interleaver('latest-sleep'),
  },
  {
    name: 'a successor begins after the slot that its predecessor was writing',
    file: `${LATEST}/writer.ts`,
    from: '    this.#version = Atomics.load(this.#words, this.#currentWord) >>> 0\n',
    to: '    this.#version = nextVersion(Atomics.load(this.#words, this.#currentWord) >>> 0, this.#slots)\n',
    rung: interleaver('latest-crash'),
  },
  {
    name: 'the version 0 is not skipped',
    file: `${LATEST}/layout.ts`,
    from: 'return version === VERSION_MAX ? 2 ** 32 % slots || slots : version + 1',
    to: 'return version === VERSION_MAX ? 0 : version + 1',
    rung: interleaver('latest-overtake'),
  },
  {
    name: 'after the last version comes 1, which lies in the same slot',
    file: `${LATEST}/layout.ts`,
    from: 'return version === VERSION_MAX ? 2 ** 32 % slots || slots : version + 1',
    to: 'return version === VERSION_MAX ? 1 : version + 1',
    rung: interleaver('latest-overtake'),
  },
  {
    name: 'R4 is left out: a copy is not validated',
    file: `${LATEST}/reader.ts`,
    from: '        if (Atomics.load(words, header) === version) {\n          if (value',
    to: '        if (version !== 0) {\n          if (value',
    rung: interleaver('latest-overtake'),
    isBrief: true,
  },
  {
    name: 'R4 is left out: what is shown in place always counts as whole',
    file: `${LATEST}/reader.ts`,
    from: '      const isWhole = Atomics.load(words, header) === version\n',
    to: '      const isWhole = true\n',
    rung: interleaver('latest-claim'),
  },
  {
    name: 'R2 is left out: a copy is validated by the stamp after it alone',
    file: `${LATEST}/reader.ts`,
    from: `      if (Atomics.load(words, header) === version) {
        // Read once`,
    to: `      if (version !== 0) {
        // Read once`,
    rung: tests('packages/ring/test/latest/steps.test.ts'),
  },
  {
    name: 'the length of a value is not checked',
    file: `${LATEST}/reader.ts`,
    from: '          byteLength > this.#byteLength\n            ? undefined',
    to: '          byteLength < 0\n            ? undefined',
    rung: hostile('latest/heap/between'),
  },
  {
    name: 'a reader that is overtaken tries for longer than it should',
    file: `${LATEST}/reader.ts`,
    from: '    for (let copies = 0; copies < this.#copiesMax; copies++) {',
    to: '    for (let copies = 0; copies < 2 * this.#copiesMax; copies++) {',
    rung: tests('packages/ring/test/latest/steps.test.ts', 'gives up after copies of 64 MiB'),
  },
  {
    name: 'a version is newer if it is larger',
    file: `${LATEST}/latest.ts`,
    from: 'return version !== 0 && version !== after',
    to: 'return version > after',
    rung: tests('packages/ring/test/latest/latest.test.ts', 'wrap while values are written'),
  },
]
