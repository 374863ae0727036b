/**
 * Marks a failure that other load on the machine may have caused. A fault of the packages fails again when repeated.
 */
export const PASSING = 'Perhaps in passing: '

/** What must be had at once, after a death: a watchdog, since a check that takes too long is told by itself. */
export const HAD_WITHIN_MS = 5_000

/** Throws what was found unless the condition holds. */
export function expect(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw new Error(what)
}

export function expectEqual(found: unknown, expected: unknown, what: string): void {
  const [foundText, expectedText] = [JSON.stringify(found), JSON.stringify(expected)]
  expect(foundText === expectedText, `${what}: ${foundText} instead of ${expectedText}`)
}

/** The code of the error that an action throws; undefined if it throws none. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
