import { describe, expect, it } from 'vitest'
import { Board } from '../../src/harness/board.js'
import { THIS_BUILD } from '../../src/harness/build.js'
import { inPlace } from '../../src/harness/place.js'

const crowd = { first: 3, second: 2 }

describe('Board', () => {
  it('shows all sides what each of them has written', () =>
    inPlace(async (place) => {
      Board.create(place, crowd, THIS_BUILD)
      const [mine, theirs] = [new Board(place, crowd), new Board(place, crowd)]
      mine.setCount('first', 0, 5)
      mine.setCount('first', 2, 7)
      mine.setCount('second', 0, 100)
      theirs.setCount('second', 1, 11)
      expect([theirs.countOf('first'), theirs.countOf('first', 2), mine.countOf('second')]).toEqual([12, 5, 111])
      mine.askForPause('first', 2, true)
      mine.setPaused('first', 1, true)
      mine.announcePid('second', 1)
      const seen = [0, 1, 2].map((index) => [theirs.isPauseAsked('first', index), theirs.isPaused('first', index)])
      expect(seen).toEqual([
        [false, false],
        [false, true],
        [true, false],
      ])
      expect(['first', 'second'].map((role) => theirs.pidOf(role as 'first' | 'second', 1))).toEqual([0, process.pid])
      mine.end()
      expect(theirs.isOver).toBe(true)
      for (const board of [mine, theirs]) board.close()
    }))

  it('compares counts that have wrapped', () =>
    inPlace(async (place) => {
      Board.create(place, crowd, THIS_BUILD)
      const board = new Board(place, crowd)
      board.setCount('second', 0, 2 ** 31 - 1)
      board.setCount('second', 1, 2 ** 31 - 1)
      board.expected = 2 ** 32 - 2
      expect(board.countOf('second')).toBe(board.expected)
      board.close()
    }))
})
