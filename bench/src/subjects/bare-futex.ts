import { closeSync, ftruncateSync, openSync } from 'node:fs'
import { join } from 'node:path'
import koffi from 'koffi'
import { libc } from '../harness/libc.js'
import { SHARED_MEMORY } from '../harness/place.js'
import { LAST_TRIP, type PingPong, pauseThread } from './ping-pong.js'
import type { Seat } from './subject.js'

const SYS_FUTEX: Readonly<Record<string, number>> = { x64: 202, arm64: 98 }
const FUTEX_WAIT = 0
const FUTEX_WAKE = 1
const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MAPPED_BYTES = 4096
/** In cache lines, and their pairs, of their own. */
const REQUEST_WORD = 0
const ANSWER_WORD = 32
const WORD_BYTES = 4

/** Returns why this machine has none, or undefined. */
export async function prepareBareFutex(): Promise<string | undefined> {
  return process.arch in SYS_FUTEX ? undefined : `the number of the system call futex on ${process.arch} is not known`
}

/**
 * Two words of a shared mapping and the system call futex, called through koffi, with nothing of isthmus in between: the
 * least that JavaScript can do. A waiter sleeps at once, and each number that is written wakes.
 */
export function openBareFutexPingPong({ role, place }: Seat): PingPong {
  const memory = mapShared(join(SHARED_MEMORY, `${place.segmentPrefix}futex`))
  const words = new Int32Array(koffi.view(memory, MAPPED_BYTES))
  const number = SYS_FUTEX[process.arch]
  const wake = libc.func('long syscall(long number, uintptr_t word, int operation, int count)')
  const wait = libc.func('long syscall(long number, uintptr_t word, int operation, int seen, void *timeout)')
  const addressOf = (word: number) => koffi.address(memory) + BigInt(word * WORD_BYTES)
  const [outWord, inWord] = role === 'second' ? [REQUEST_WORD, ANSWER_WORD] : [ANSWER_WORD, REQUEST_WORD]
  const [outAddress, inAddress] = [addressOf(outWord), addressOf(inWord)]
  // A number is stored plus 1, so that the first one differs from the 0 in a new mapping.
  let seen = 0
  const send = (trip: number) => {
    Atomics.store(words, outWord, trip + 1)
    wake(number, outAddress, FUTEX_WAKE, 1)
  }
  const receive = (): number => {
    while (Atomics.load(words, inWord) === seen) wait(number, inAddress, FUTEX_WAIT, seen, null)
    seen = Atomics.load(words, inWord)
    return seen - 1
  }
  return {
    roundTrip(trip) {
      send(trip)
      return receive()
    },
    answerAll() {
      for (let trips = 0; ; trips++) {
        const trip = receive()
        send(trip)
        if (trip === LAST_TRIP) return trips
      }
    },
    pause: pauseThread,
    close() {
      libc.func('int munmap(void *memory, size_t byteLength)')(memory, MAPPED_BYTES)
    },
  }
}

/** Both sides may come first: a file that grows is filled with zeros. */
function mapShared(path: string): unknown {
  const fd = openSync(path, 'a+', 0o600)
  try {
    ftruncateSync(fd, MAPPED_BYTES)
    const mmap = libc.func('void *mmap(void *at, size_t byteLength, int protection, int flags, int fd, long offset)')
    const memory = mmap(null, MAPPED_BYTES, PROT_READ_WRITE, MAP_SHARED, fd, 0)
    if (koffi.address(memory) === 2n ** 64n - 1n) throw new Error(`mmap of ${path} failed: errno ${koffi.errno()}`)
    return memory
  } finally {
    closeSync(fd)
  }
}
