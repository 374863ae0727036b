import { existsSync, readdirSync, rmSync } from 'node:fs'
import { Segment } from '@isthmus/shm-posix'
import type { Board } from './board.js'
import { expect, expectEqual, PASSING } from './expectations.js'
import type { Survivor } from './survivor.js'

const NEWCOMERS_MAX = 4

/** Attaches newcomers until every dead peer's slot is swept: each newcomer sweeps the slot that it takes. */
export function sweepAll(survivor: Survivor<unknown>): void {
  for (let count = 0; count < NEWCOMERS_MAX && survivor.segment.peers.hasDead(); count++) survivor.newcomer()
}

/** Checks that after a sweep only the living are attached. */
export function checkThatNobodyIsLeft(survivor: Survivor<unknown>, board: Board, wereAllListed: boolean): void {
  sweepAll(survivor)
  expectEqual(survivor.strangers(), [], 'Peers that are listed after a sweep')
  expect(!survivor.segment.peers.hasDead(), 'A slot is neither free nor of the living after a sweep')
  // A sweep finds the FIFOs of attached peers. The FIFOs of a peer that was not yet, or no longer, attached take a
  // prune.
  if (wereAllListed) expectGone(board, 'a sweep')
}

/** Checks that a prune leaves nothing once all processes are gone. */
export function checkThatNothingIsLeft(name: string, board: Board): void {
  Segment.prune({ prefix: name, force: true })
  expectGone(board, 'a prune')
  expectEqual(filesOf(name), [], 'Files left after a prune')
}

/**
 * Must run at once: a peer that attaches later removes some of what others left, and would hide it. Another process may
 * be removing the file at this very moment, so a finding counts only if it comes again.
 */
function expectGone(board: Board, what: string): void {
  expectEqual(board.lines('fifos').filter(existsSync), [], `${PASSING}FIFOs left after ${what}`)
}

/** Removes what a run leaves that was itself interrupted. */
export function removeAll(prefix: string): void {
  Segment.prune({ prefix, force: true })
  for (const fileName of filesOf(prefix)) rmSync(`/dev/shm/${fileName}`, { force: true, recursive: true })
}

export function filesOf(prefix: string): string[] {
  return readdirSync('/dev/shm').filter((fileName) => `/${fileName}`.startsWith(prefix))
}
