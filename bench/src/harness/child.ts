import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/**
 * Runs a program to its end and returns what it printed. If the signal aborts, the program is killed.
 * @throws Error if it ends in any other way than with exit code 0, or by SIGKILL if that is expected; the
 * message contains its error output
 */
export async function runChild(
  file: string,
  args: readonly string[],
  signal: AbortSignal,
  isKilled = false,
): Promise<string> {
  signal.throwIfAborted()
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => child.kill('SIGKILL')
  signal.addEventListener('abort', kill)
  try {
    const ended = once(child, 'close')
    const [output, errorOutput, [code, killedBy]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
    signal.throwIfAborted()
    if (isKilled ? killedBy === 'SIGKILL' : code === 0) return output
    const end = code === null ? `was killed by ${killedBy}` : `ended with exit code ${code}`
    throw new Error(`${file} ${end}: ${errorOutput.trim()}`)
  } finally {
    signal.removeEventListener('abort', kill)
  }
}
