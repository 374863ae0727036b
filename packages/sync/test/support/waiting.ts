/** A watchdog, not a measurement: half of the time limit of vitest, which would not say what was waited for. */
const WATCHDOG_MS = 30_000

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Lets everything that is due in this thread have its turn, several times. */
export async function turns(count = 5): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Waits until it is true; gives up after half a minute. */
export async function until(isTrue: () => boolean): Promise<void> {
  const watchdog = performance.now() + WATCHDOG_MS
  while (!isTrue()) {
    if (performance.now() > watchdog) throw new Error('it never became true')
    await sleep(1)
  }
}

/** The state of a promise after a while in which everything else had its turns. */
export async function stateOf(promise: Promise<unknown>, afterMs = 20): Promise<'pending' | 'resolved' | 'rejected'> {
  const settled = promise.then(
    () => 'resolved' as const,
    () => 'rejected' as const,
  )
  return Promise.race([settled, sleep(afterMs).then(() => 'pending' as const)])
}

/** The promise, or after half a minute an error that says what did not come. */
export function soon<T>(promise: Promise<T>, what = 'the wake-up'): Promise<T> {
  let timer: NodeJS.Timeout
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within half a minute`)), WATCHDOG_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
