import { type Latest, type LatestValue, type LatestWriter, latest } from '@isthmus/ring'
import { waitAny } from '@isthmus/sync'
import {
  CURRENT_OFFSET,
  LENGTH_WORD,
  SLOT_HEADER_BYTES,
  SLOTS_OFFSET,
  slotOfVersion,
  strideOf,
} from '../../../../packages/ring/src/latest/layout.js'
import { Breach, type Call } from '../call.js'
import { CANARY_BYTES, type Ground } from '../ground.js'
import { type Mutation, write } from '../memory.js'
import type { Random } from '../random.js'
import { type Subject, shortTimeout, type Users } from '../subject.js'
import { untilAborted } from './ring.js'

const BYTES = 100
const SLOTS = 3
const STRIDE = strideOf(BYTES)
const structure = latest({ byteLength: BYTES, slots: SLOTS })

export const latestSubject: Subject = {
  name: 'latest',
  structure,
  enter: (ground) => new LatestUsers(ground as Ground<Latest>),
  strike: (ground, random) => forgeValue(ground, random),
}

/** After a crash of the machine a latest value may contain anything. `recover` must leave one that can be read and written. */
export const latestRecovery: Subject = {
  name: 'latest-recovery',
  structure,
  enter: (ground) => new RecoveryUsers(ground as Ground<Latest>),
  strike: (ground, random) => forgeValue(ground, random),
}

/** Makes another version current: sometimes with its stamp and a possible length, sometimes without. */
function forgeValue({ memory: { words, structure } }: Ground, random: Random): Mutation[] {
  const at = (byteOffset: number) => structure.from + byteOffset / 4
  const current = words[at(CURRENT_OFFSET)]
  const version = random.isOneIn(4) ? random.word() : current + random.below(5) - 2
  const header = at(SLOTS_OFFSET + slotOfVersion(version, SLOTS) * STRIDE)
  const mutations = [write(words, header, random.isOneIn(4) ? random.word() : version)]
  const byteLength = random.isOneIn(2) ? random.of([BYTES, BYTES + 1, STRIDE, -1, random.word()]) : random.below(BYTES)
  mutations.push(write(words, header + LENGTH_WORD, byteLength))
  mutations.push(write(words, at(CURRENT_OFFSET), version))
  return mutations
}

class LatestUsers implements Users {
  readonly #ground: Ground<Latest>
  readonly #reading: Latest
  readonly #writing: Latest
  #writer: LatestWriter
  #version = 0

  constructor(ground: Ground<Latest>) {
    this.#ground = ground
    this.#reading = ground.use(ground.second)
    this.#writing = ground.use(ground.first)
    this.#writer = this.#writing.writer()
  }

  next(random: Random): Call {
    const timeoutMs = shortTimeout(random)
    const value = new Uint8Array(random.below(BYTES + 1)).fill(random.below(120))
    const into = new Uint8Array(random.below(BYTES + 20))
    const after = random.isOneIn(3) ? 0 : this.#version
    const reading = this.#reading
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
        return { name: 'write', run: () => this.#writer.write(value) }
      case 3:
        return { name: 'claim, commit', run: () => this.#claim(value.byteLength, true) }
      case 4:
        return { name: 'claim, abort', run: () => this.#claim(value.byteLength, false) }
      case 5:
        return { name: 'writer anew', run: () => this.#renew() }
      case 6:
        return { name: 'describe', run: () => reading.describe() }
      case 7:
        return { name: 'readInPlace', run: () => this.#look() }
      case 8:
        return { name: 'read into', run: () => this.#check(reading.read({ into }), into) }
      case 9:
        return { name: 'nextSync', timeoutMs, run: () => this.#check(reading.nextSync({ after, timeoutMs })) }
      case 10:
        return { name: 'next', timeoutMs, run: async () => this.#check(await reading.next({ after, timeoutMs })) }
      case 11:
        return {
          name: 'next into',
          timeoutMs,
          run: async () => this.#check(await reading.next({ into, timeoutMs }), into),
        }
      case 12:
        return { name: 'watch', timeoutMs, run: () => untilAborted(timeoutMs, (signal) => this.#watch(signal)) }
      case 13:
        return { name: 'waitAny', timeoutMs, run: () => waitAny([reading.newerThan(after)], { timeoutMs }) }
      default:
        return { name: 'read', run: () => this.#check(reading.read()) }
    }
  }

  leave(): Call[] {
    return [{ name: 'close writer', run: () => this.#writer.close() }]
  }

  #claim(byteLength: number, isCommitted: boolean): void {
    const claim = this.#writer.claim()
    this.#assertInside(claim.byteOffset - this.#ground.first.bytes.byteOffset, claim.byteLength)
    claim.fill(7)
    if (isCommitted) this.#writer.commit(byteLength)
    else this.#writer.abort()
  }

  #renew(): void {
    this.#writer.close()
    this.#writer = this.#writing.writer()
  }

  #look(): void {
    this.#reading.readInPlace((bytes, byteOffset, byteLength) => {
      this.#assertInside(byteOffset, byteLength)
      checkBytes(bytes.slice(byteOffset, byteOffset + byteLength))
    })
  }

  async #watch(signal: AbortSignal): Promise<void> {
    let count = 0
    for await (const value of this.#reading.watch({ signal })) {
      this.#check(value)
      if (++count === 3) return
    }
  }

  #check(read: LatestValue<Uint8Array> | undefined, into?: Uint8Array): void {
    if (read === undefined) return
    const { value, version } = read
    const isVersion = Number.isInteger(version) && version > 0 && version < 2 ** 32
    if (!isVersion) throw new Breach(`the version ${version} was read`)
    this.#version = version
    checkBytes(value)
    if (into !== undefined && value.buffer !== into.buffer) throw new Breach('it was read to elsewhere')
  }

  #assertInside(byteOffset: number, byteLength: number): void {
    const offset = byteOffset - this.#ground.structureByteOffset - SLOTS_OFFSET - SLOT_HEADER_BYTES
    const isInside = offset >= 0 && offset % STRIDE === 0 && offset / STRIDE < SLOTS && byteLength <= BYTES
    if (!isInside) throw new Breach(`${byteLength} bytes at ${byteOffset} lie outside of the slots`)
  }
}

function checkBytes(bytes: Uint8Array): void {
  if (bytes.byteLength > BYTES) throw new Breach(`a value of ${bytes.byteLength} bytes was read`)
  if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(CANARY_BYTES)) {
    throw new Breach('a value has bytes from outside of the structure')
  }
}

class RecoveryUsers implements Users {
  readonly #ground: Ground<Latest>

  constructor(ground: Ground<Latest>) {
    this.#ground = ground
  }

  next(_random: Random): Call {
    return { name: 'recover', run: () => this.#recover() }
  }

  leave(): Call[] {
    return []
  }

  #recover(): void {
    const { structure, structureByteOffset, first, second } = this.#ground
    // As after a boot: every earlier peer is dead and swept.
    for (const peer of this.#ground.peerIds) structure.sweep(first, structureByteOffset, peer)
    structure.recover?.(first, structureByteOffset)
    const [writing, reading] = [this.#ground.use(first), this.#ground.use(second)]
    try {
      const before = reading.read()
      if (before !== undefined) checkBytes(before.value)
      // A role word that names a peer that never existed is not swept with any peer.
      if (writing.describe().writer.state === 'held') return
      const writer = writing.writer()
      writer.write(Uint8Array.of(1, 2, 3))
      writer.close()
    } catch (error) {
      if ((error as { code?: string }).code !== 'ERR_ISTHMUS_CORRUPT') throw error
      throw new Breach(`a recovered value is corrupt: ${(error as Error).message}`)
    }
    if (reading.read()?.value.join() !== '1,2,3') throw new Breach('what is written after a recovery is not read')
  }
}
