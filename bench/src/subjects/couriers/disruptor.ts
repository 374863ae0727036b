import { execFile } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { SHARED_MEMORY } from '../../harness/place.js'
import type { Courier } from '../messenger.js'
import { ringCapacityBytes } from '../ring-capacity.js'
import type { MessageSubject, Seat } from '../subject.js'

const PACKAGE = 'shared-memory-disruptor'
const LENGTH_BYTES = 4
const CONSUMERS = 1
const NO_CONSUMER = -1
const IS_SPINNING = true

/**
 * Slots of one size in shared memory; the length of a message stands in front of it in its slot. Only its spinning calls are
 * used: the promises of its other calls did not always settle here.
 */
export const disruptor: MessageSubject = {
  name: PACKAGE,
  arrangement: 'processes',
  // Of larger slots, the ring would hold only one or two.
  messageBytesMax: 1024 * 1024,
  prepare,
  couriers: { spinning: openCourier },
}

interface Disruptor {
  produceClaimSync(): Buffer
  produceCommitSync(): boolean
  consumeNewSync(): Buffer[]
  release(): void
}

const require = createRequire(import.meta.url)

let preparation: Promise<string | undefined> | undefined

function prepare(signal: AbortSignal): Promise<string | undefined> {
  preparation ??= build(signal)
  return preparation
}

/** It comes as source and is not built when it is installed, since a machine may have no compiler: it is built here, once. */
async function build(signal: AbortSignal): Promise<string | undefined> {
  let directory: string
  try {
    directory = dirname(require.resolve(`${PACKAGE}/package.json`))
  } catch {
    return 'it is not installed'
  }
  const isBuilt = () => existsSync(join(directory, 'build/Release/disruptor.node'))
  if (isBuilt()) return undefined
  console.log(`Building ${PACKAGE}, once …`)
  try {
    await promisify(execFile)('npx', ['--yes', 'node-gyp', 'rebuild'], { cwd: directory, signal })
    return isBuilt() ? undefined : 'building it left no library'
  } catch (error) {
    signal.throwIfAborted()
    return `building it with node-gyp failed: ${String(error).split('\n')[0]}`
  }
}

interface Disruptors {
  readonly outward: Disruptor
  readonly inward: Disruptor
  readonly slotBytes: number
  close(): void
}

function openDisruptors({ role, place, messageBytes }: Seat): Disruptors {
  const { Disruptor } = require(PACKAGE)
  const slotBytes = LENGTH_BYTES + messageBytes
  const slots = Math.max(4, Math.floor(ringCapacityBytes(messageBytes) / slotBytes))
  const isFirst = role === 'first'
  const open = (name: string, consumer: number): Disruptor => {
    const fullName = `${place.segmentPrefix}${name}`
    const opened = new Disruptor(fullName, slots, slotBytes, CONSUMERS, consumer, isFirst, IS_SPINNING)
    if (!isFirst) rmSync(join(SHARED_MEMORY, fullName))
    return opened
  }
  const forth = open('forth', isFirst ? NO_CONSUMER : 0)
  const back = open('back', isFirst ? 0 : NO_CONSUMER)
  const [outward, inward] = isFirst ? [forth, back] : [back, forth]
  const close = () => {
    forth.release()
    back.release()
  }
  return { outward, inward, slotBytes, close }
}

function openCourier(seat: Seat): Courier {
  const { outward, inward, slotBytes, close } = openDisruptors(seat)
  let stretches: Buffer[] = []
  let stretch = 0
  let offset = 0
  return {
    send(message) {
      put(message, outward.produceClaimSync())
      outward.produceCommitSync()
    },
    receive() {
      if (stretch < stretches.length && offset === stretches[stretch].length) {
        stretch++
        offset = 0
      }
      while (stretch === stretches.length) {
        // Returns the slot that was read before.
        stretches = inward.consumeNewSync()
        stretch = 0
      }
      const message = messageAt(stretches[stretch], offset)
      offset += slotBytes
      return message
    },
    close,
  }
}

function put(message: Uint8Array, slot: Buffer): void {
  slot.writeUInt32LE(message.byteLength)
  slot.set(message, LENGTH_BYTES)
}

function messageAt(stretch: Buffer, offset: number): Buffer {
  const start = offset + LENGTH_BYTES
  return stretch.subarray(start, start + stretch.readUInt32LE(offset))
}
