import { expect } from 'vitest'

/** The action throws an error with this `code`, and returns it. */
export function expectCode(code: string, action: () => unknown): Error & { syscall?: string } {
  let thrown: unknown
  try {
    action()
  } catch (error) {
    thrown = error
  }
  expect(thrown).toBeInstanceOf(Error)
  expect(thrown).toMatchObject({ code })
  return thrown as Error
}

/** The promise rejects with an error that has this `code`. */
export async function expectRejection(code: string, promise: Promise<unknown>): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code })
}
