import { parentPort } from 'node:worker_threads'
import { Segment, type SegmentHandle } from '@isthmus/shm-posix'
import { HeapRegion, type HeapRegionHandle, type Layout } from '@isthmus/sync'
import { type AttachedRegion, alignUp, MAX_PEERS, PEERS_BYTE_OFFSET, planHeader } from '@isthmus/sync/internal'
import { CANARY_WORDS, guarded } from '../hostile/ground.js'
import { hostileWord } from '../hostile/hostile-word.js'
import { HEADER, type HostileMemory } from '../hostile/memory.js'
import { Random } from '../hostile/random.js'
import { IS_ON, IS_WRITING, SCRIBBLES, type ScribblerOrder, SEED } from '../hostile/scribbler.js'
import type { Subject } from '../hostile/subject.js'
import { subjectNamed } from '../hostile/subjects/index.js'

/** The thread that a Scribbler starts. Between two fights (cases) it waits for the next one. */

/** After a pause of this length it returns to its event loop to get another fight. */
const PATIENCE_MS = 20
/** How many blows come in a burst. After it the thread rests: without a rest, no call of the users would get far. */
const BURST = 16
const REST_LOOKS = 400

let region: AttachedRegion<unknown> | undefined
let pending: NodeJS.Immediate | undefined

parentPort?.on('message', (order: ScribblerOrder) => {
  clearImmediate(pending)
  region?.close()
  region = undefined
  if (order.order === 'enter') enter(order)
  parentPort?.postMessage('done')
})

function enter({ subject: name, handle, control }: ScribblerOrder & { order: 'enter' }): void {
  const subject = subjectNamed(name)
  const layout = guarded(subject.structure) as Layout<unknown>
  const isHeap = (handle as { isthmus: string }).isthmus === 'heap-region'
  region = isHeap
    ? HeapRegion.attach(handle as HeapRegionHandle, layout)
    : Segment.attach(handle as SegmentHandle, layout)
  const { words } = region
  const start = (planHeader(layout).rootByteOffset + alignUp(CANARY_WORDS * 4, subject.structure.byteAlignment)) / 4
  const memory: HostileMemory = {
    words,
    structure: { from: start, to: start + Math.ceil(subject.structure.byteLength / 4) },
    peers: { from: PEERS_BYTE_OFFSET / 4, to: PEERS_BYTE_OFFSET / 4 + MAX_PEERS * 16 },
    header: HEADER,
    peerIds: region.peers.list().map(({ peer }) => peer),
  }
  const snapshot = new Int32Array(words)
  const turn = () => {
    scribble(memory, subject, snapshot, control)
    pending = setImmediate(turn)
  }
  pending = setImmediate(turn)
}

/** Overwrites memory during one fight, if the fight begins soon. */
function scribble(memory: HostileMemory, subject: Subject, snapshot: Int32Array, control: Int32Array): void {
  if (Atomics.load(control, IS_ON) === 0) Atomics.wait(control, IS_ON, 0, PATIENCE_MS)
  Atomics.store(control, IS_WRITING, 1)
  const random = new Random(Atomics.load(control, SEED) + 1)
  const places = placesOf(memory, subject)
  while (Atomics.load(control, IS_ON) === 1) {
    if (subject.scribble !== undefined) {
      subject.scribble(memory.words, memory.structure.from)
      Atomics.add(control, SCRIBBLES, 1)
      continue
    }
    for (let blow = 0; blow < BURST && Atomics.load(control, IS_ON) === 1; blow++) {
      const index = random.of(places)
      const isPutBack = random.isOneIn(3)
      Atomics.store(memory.words, index, isPutBack ? snapshot[index] : hostileWord(index, memory, random))
    }
    Atomics.add(control, SCRIBBLES, BURST)
    if (subject.scribble !== undefined) continue
    for (let look = random.below(REST_LOOKS); look > 0 && Atomics.load(control, IS_ON) === 1; look--);
  }
  Atomics.store(control, IS_WRITING, 0)
  Atomics.notify(control, IS_WRITING)
}

/**
 * The words to overwrite. The structure's stand in it three times, to be hit about as often as the users' peer slots.
 */
function placesOf({ structure, peers, peerIds }: HostileMemory, { unscribbled = [] }: Subject): number[] {
  const isOpen = (index: number) => {
    const byteOffset = (index - structure.from) * 4
    return !unscribbled.some(([from, to]) => byteOffset >= from && byteOffset < to)
  }
  const places: number[] = []
  for (let index = structure.from; index < structure.to; index++) if (isOpen(index)) places.push(index, index, index)
  for (const peer of peerIds) {
    for (let word = 0; word < 7; word++) places.push(peers.from + (peer & 127) * 16 + word)
  }
  return places
}
