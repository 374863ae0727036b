/** One call of production code, and how long it may wait. */
export interface Call {
  readonly name: string
  readonly timeoutMs?: number
  run(): unknown
}

/** A call did what it must never do. The message says what. */
export class Breach extends Error {
  override readonly name = 'Breach'
}

/** By how much a call may exceed its timeout. A machine may stand still for a second. */
export const GRACE_MS = 3_000

/** Runs a call. A result and an error with a code are answers; any other error, and being late, is a breach. */
export async function perform(call: Call): Promise<string> {
  const startedMs = performance.now()
  let answer = 'returned'
  try {
    const result = call.run()
    if (result instanceof Promise) await result
  } catch (error) {
    if (error instanceof Breach || !isTyped(error)) throw error
    answer = codeOf(error)
  }
  const tookMs = performance.now() - startedMs
  const allowedMs = (call.timeoutMs ?? 0) + GRACE_MS
  if (tookMs > allowedMs) throw new Breach(`${call.name} took ${Math.round(tookMs)} ms, ${allowedMs} were allowed`)
  return answer
}

function isTyped(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(isTyped)
  return /^(ERR_ISTHMUS_\w+|ABORT_ERR|E[A-Z0-9]+)$/.test(codeOf(error))
}

function codeOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(codeOf).join('+')
  return String((error as { code?: unknown } | null)?.code ?? '')
}
