import { expect } from 'vitest'

/** The action throws an error with this `code`. */
export function expectCode(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ code }))
}

/** The promise rejects with an error that has this `code`. */
export async function expectRejection(code: string, promise: Promise<unknown>): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code })
}
