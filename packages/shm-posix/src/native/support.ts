import { IsthmusError } from '@isthmus/sync'

const ARCHITECTURES = ['x64', 'arm64']
const NODE_VERSION_MIN = [20, 19] as const

/** What the running system is, as far as it decides whether segments can work here. */
export interface Runtime {
  readonly platform: string
  readonly arch: string
  readonly nodeVersion: string
}

/**
 * Called before anything native is loaded, so that an unsupported system gets one clear error and no crash.
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED`
 */
export function assertSupported(
  runtime: Runtime = process.versions.node === undefined ? unknownRuntime() : thisRuntime(),
): void {
  const { platform, arch, nodeVersion } = runtime
  if (platform !== 'linux' || !ARCHITECTURES.includes(arch)) {
    throw unsupported(`this is ${platform} on ${arch}; named segments need Linux on x64 or arm64`)
  }
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  const isTooOld = major < NODE_VERSION_MIN[0] || (major === NODE_VERSION_MIN[0] && minor < NODE_VERSION_MIN[1])
  if (isTooOld)
    throw unsupported(`this is Node.js ${nodeVersion}; segments need ${NODE_VERSION_MIN.join('.')} or later`)
}

export function unsupported(found: string, cause?: unknown): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_UNSUPPORTED',
    `Using shared memory segments: ${found}. For the threads of one process, HeapRegion of @isthmus/sync works everywhere.`,
    { cause },
  )
}

function thisRuntime(): Runtime {
  return { platform: process.platform, arch: process.arch, nodeVersion: process.versions.node }
}

function unknownRuntime(): Runtime {
  return { platform: process.platform, arch: process.arch, nodeVersion: '0.0' }
}
