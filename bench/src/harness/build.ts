import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as shmPosix from '@isthmus/shm-posix'
import * as sync from '@isthmus/sync'
import { AGENT_FILE } from './agent-file.js'

/** What the sides of a run execute, and the packages that they use. */
export interface Build {
  readonly agentFile: string
  readonly sync: typeof sync
  readonly shmPosix: typeof shmPosix
}

export const THIS_BUILD: Build = { agentFile: AGENT_FILE, sync, shmPosix }

/** That of another working tree, which has been set up. Its segments may have a format that this build does not know. */
export async function buildIn(directory: string): Promise<Build> {
  const packageIn = (name: string) => import(pathToFileURL(resolve(directory, 'packages', name, 'dist/index.js')).href)
  return {
    agentFile: resolve(join(directory, 'bench/dist/agent.js')),
    sync: await packageIn('sync'),
    shmPosix: await packageIn('shm-posix'),
  }
}
