import { describe, expect, it } from 'vitest'
import { orUndo, Undo } from '../../src/segment/undo.js'

describe('Undo.run()', () => {
  it('runs the last step first, and each step once', () => {
    const undo = new Undo()
    const ran: number[] = []
    for (const step of [1, 2, 3]) undo.add(() => ran.push(step))
    undo.run()
    undo.run()
    expect(ran).toEqual([3, 2, 1])
  })

  it('runs the step that has replaced the last one, and not that one', () => {
    const undo = new Undo()
    const ran: string[] = []
    for (const step of ['first', 'second']) undo.add(() => ran.push(step))
    undo.replaceLast(() => ran.push('replacement'))
    undo.run()
    expect(ran).toEqual(['replacement', 'first'])
  })

  it('runs the other steps even if one throws, and throws its error', () => {
    const undo = new Undo()
    const ran: string[] = []
    undo.add(() => ran.push('first'))
    undo.add(() => {
      throw new Error('of a step')
    })
    undo.add(() => ran.push('third'))
    expect(() => undo.run()).toThrow('of a step')
    expect(ran).toEqual(['third', 'first'])
  })
})

describe('orUndo()', () => {
  it('undoes nothing if the action returns', () => {
    const ran: string[] = []
    expect(orUndo((undo) => undo.add(() => ran.push('step')) ?? 'result')).toBe('result')
    expect(ran).toEqual([])
  })

  it('undoes what was done if the action throws, and throws its error', () => {
    const ran: string[] = []
    const action = (undo: Undo) => {
      undo.add(() => ran.push('step'))
      throw new Error('of the action')
    }
    expect(() => orUndo(action)).toThrow('of the action')
    expect(ran).toEqual(['step'])
  })
})
