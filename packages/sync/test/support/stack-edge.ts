/**
 * Recurses until the stack is full, goes back by `frames` calls and takes the action there, with so much room. Returns
 * what it returned; undefined where it threw the RangeError of a full stack. Throws whatever else it threw.
 */
export function atStackEdge<R>(frames: number, action: () => R): R | undefined {
  let left = frames
  let result: R | undefined
  let error: unknown
  const descend = (): void => {
    try {
      descend()
    } catch {
      // Full.
    }
    if (left-- !== 0) return
    try {
      result = action()
    } catch (thrown) {
      error = thrown
    }
  }
  descend()
  if (error !== undefined && !(error instanceof RangeError && !('code' in error))) throw error
  return result
}
