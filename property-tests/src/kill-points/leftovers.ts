import { existsSync, readdirSync, rmSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import type { Board } from './board.js'
import { expect, expectEqual, PASSING } from './expectations.js'
import type { Survivor } from './survivor.js'

const NEWCOMERS_MAX = 4

/** Each newcomer sweeps the slot of one. */
export function sweepAll(survivor: Survivor<unknown>): void {
  for (let count = 0; count < NEWCOMERS_MAX && survivor.segment.peers.hasDead(); count++) survivor.newcomer()
}

/** The next ones who attach find a segment of the living. */
export function checkThatNobodyIsLeft(survivor: Survivor<unknown>, board: Board, wereAllListed: boolean): void {
  sweepAll(survivor)
  expectEqual(survivor.strangers(), [], 'Peers that are listed after a sweep')
  expect(!survivor.segment.peers.hasDead(), 'A slot is neither free nor of the living after a sweep')
  // A sweep finds the FIFOs of who was attached. Of who was not yet, or no more, only a prune can.
  if (wereAllListed) expectGone(board, 'a sweep')
}

/** When everybody is gone, a prune leaves nothing. */
export function checkThatNothingIsLeft(name: string, board: Board): void {
  Segment.prune({ prefix: name, force: true })
  expectGone(board, 'a prune')
  expectEqual(filesOf(name), [], 'Files left after a prune')
}

/**
 * At once: whoever comes along later removes a few of what others left, and would hide that it was left. Another one may
 * be about to remove it in this moment: so it counts only if it is so again.
 */
function expectGone(board: Board, what: string): void {
  expectEqual(board.lines('fifos').filter(existsSync), [], `${PASSING}FIFOs left after ${what}`)
}

/** What a run leaves that was itself broken off. */
export function removeAll(prefix: string): void {
  Segment.prune({ prefix, force: true })
  for (const fileName of filesOf(prefix)) rmSync(`/dev/shm/${fileName}`, { force: true, recursive: true })
}

export function filesOf(prefix: string): string[] {
  return readdirSync('/dev/shm').filter((fileName) => `/${fileName}`.startsWith(prefix))
}
