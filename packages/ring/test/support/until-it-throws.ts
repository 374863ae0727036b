/** Repeats an action that checks for a death only now and then, until it throws; gives up after half a minute. */
export function untilItThrows(action: () => unknown): unknown {
  const watchdog = performance.now() + 30_000
  while (performance.now() < watchdog) {
    try {
      action()
    } catch (error) {
      return error
    }
  }
  return new Error('the action never threw')
}
