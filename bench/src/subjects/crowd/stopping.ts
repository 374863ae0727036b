import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Board, NO_END } from '../../harness/board.js'
import type { Pace } from '../../harness/contest.js'
import type { Side } from '../../harness/timed-transfers.js'
import type { Stamps } from './stamps.js'

/** How often the last sender is stopped in a run. */
export const STOPS = 20
const MESSAGES_BETWEEN_COUNTS = 64
/** All run for so long before each stop and each pause. */
const ALL_RUN_MS = 5
const LOOK_MS = 1
const STOP_TIMEOUT_MS = 30_000

/** How long each stop lasts, and each pause that it is compared with. */
export function stopMsOf({ targetMs }: Pace): number {
  return targetMs / STOPS
}

/** What a sender does: it sends until the run is over, with the pauses that the conductor asks for. */
export async function sendWithPauses(side: Side, stamps: Stamps, board: Board, index: number): Promise<void> {
  board.announcePid('first', index)
  while (!board.isOver) {
    if (board.isPauseAsked('first', index)) {
      board.setPaused('first', index, true)
      while (board.isPauseAsked('first', index) && !board.isOver) await delay(LOOK_MS)
      board.setPaused('first', index, false)
    }
    await side.transfer(MESSAGES_BETWEEN_COUNTS)
    stamps.announce()
  }
  // It sends nothing any more.
  board.setPaused('first', index, true)
}

/**
 * Stops the last sender wherever it is, or has it pause between two messages, in turn; in between, all run. So as many
 * senders work in both cases. Returns the others' rate while it was stopped, as a share of their rate while it paused.
 */
export async function conduct(board: Board, senders: number, pace: Pace): Promise<number> {
  const victim = senders - 1
  board.expected = NO_END
  const pid = await pidOf(board, victim)
  await delay(pace.warmUpMs)
  let stoppedRates = 0
  let pausedRates = 0
  for (let stop = 0; stop < STOPS; stop++) {
    await delay(ALL_RUN_MS)
    process.kill(pid, 'SIGSTOP')
    await until('The sender stops', () => isStopped(pid))
    stoppedRates += await rateOf(board, victim, stopMsOf(pace))
    process.kill(pid, 'SIGCONT')
    await delay(ALL_RUN_MS)
    board.askForPause('first', victim, true)
    await until('The sender pauses', () => board.isPaused('first', victim))
    pausedRates += await rateOf(board, victim, stopMsOf(pace))
    board.askForPause('first', victim, false)
    await until('The sender goes on', () => !board.isPaused('first', victim))
  }
  board.end()
  for (let index = 0; index < senders; index++) {
    await until('The sender ends', () => board.isPaused('first', index))
  }
  board.expected = board.countOf('first')
  return stoppedRates / pausedRates
}

async function pidOf(board: Board, index: number): Promise<number> {
  await until('The sender begins', () => board.pidOf('first', index) !== 0)
  return board.pidOf('first', index)
}

/** Of the first senders, in messages per millisecond. */
async function rateOf(board: Board, senders: number, durationMs: number): Promise<number> {
  const startMs = performance.now()
  const before = board.countOf('first', senders)
  await delay(durationMs)
  const sent = (board.countOf('first', senders) - before) >>> 0
  return sent / (performance.now() - startMs)
}

export function isStopped(pid: number): boolean {
  // The state stands behind the name, which may contain spaces and parentheses.
  const facts = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return facts[facts.lastIndexOf(')') + 2] === 'T'
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const endMs = performance.now() + STOP_TIMEOUT_MS; !isSo(); await delay(LOOK_MS)) {
    if (performance.now() > endMs) throw new Error(`${what}: not within ${STOP_TIMEOUT_MS} ms`)
  }
}
