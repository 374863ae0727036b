import { expect } from 'vitest'

/** The action throws an error with this `code`. */
export function expectCode(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ code }))
}
