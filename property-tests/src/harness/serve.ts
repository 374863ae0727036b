import { isMainThread, parentPort } from 'node:worker_threads'
import type { Request, Response } from './agent.js'

/** The other end of an Agent: executes requests one after the other. */
// biome-ignore lint/suspicious/noExplicitAny: requests come as plain data; each operation declares what it expects.
export function serve(operations: Record<string, (parameters: any) => unknown>): void {
  const answer = (response: Response): void => {
    if (isMainThread) process.send?.(response)
    else parentPort?.postMessage(response)
  }
  const handle = async ({ id, operation, parameters }: Request): Promise<void> => {
    try {
      const action = operation === 'hello' ? () => 'hello' : operations[operation]
      if (action === undefined) throw new Error(`This program has no operation ${operation}`)
      answer({ id, result: await action(parameters) })
    } catch (error) {
      const { message, code } = error as Error & { code?: string }
      answer({ id, failure: { message, code } })
    }
  }
  if (isMainThread) {
    process.on('message', handle)
    process.on('disconnect', () => process.exit(0))
  } else {
    parentPort?.on('message', handle)
  }
}
