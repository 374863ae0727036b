import { expect } from 'vitest'

/** The action throws an error with this `code`. */
export function expectCode(code: string, action: () => unknown): void {
  expect(action).toThrow(expect.objectContaining({ code }))
}

/** The promise rejects with an error that has this `code`. */
export async function expectRejection(code: string, promise: Promise<unknown>): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code })
}

/** Repeats an action that looks for a death only now and then, until it throws; gives up after five seconds. */
export function untilItThrows(action: () => unknown): unknown {
  const watchdog = performance.now() + 5_000
  while (performance.now() < watchdog) {
    try {
      action()
    } catch (error) {
      return error
    }
  }
  return new Error('the action never threw')
}
