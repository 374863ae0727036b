/** Begins what may be the fault of others on this machine. What is wrong with the packages is wrong again. */
export const PASSING = 'Perhaps in passing: '

/** Ends a check with what was found. */
export function expect(isTrue: boolean, what: string): asserts isTrue {
  if (!isTrue) throw new Error(what)
}

export function expectEqual(found: unknown, expected: unknown, what: string): void {
  const [foundText, expectedText] = [JSON.stringify(found), JSON.stringify(expected)]
  expect(foundText === expectedText, `${what}: ${foundText} instead of ${expectedText}`)
}

/** The code of the error that an action throws; undefined for none. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
