import { IsthmusError } from '@isthmus/sync'

const ARCHITECTURES = ['x64', 'arm64']
/** The first minor release of each major one that has all that is needed, zlib.crc32 among it. */
const FIRST_MINORS = new Map([
  [20, 19],
  [22, 2],
])
const NEWEST_LINE = 22

/** The properties of the running system that decide whether segments can work. */
export interface Runtime {
  readonly platform: string
  readonly arch: string
  readonly nodeVersion: string
}

/**
 * Called before the native binding is loaded, so that an unsupported system gets a clear error and no crash.
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED`
 */
export function assertSupported(runtime: Runtime = thisRuntime()): void {
  const { platform, arch, nodeVersion } = runtime
  if (platform !== 'linux' || !ARCHITECTURES.includes(arch)) {
    throw unsupported(`this is ${platform} on ${arch}; named segments need Linux on x64 or arm64`)
  }
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  const firstMinor = FIRST_MINORS.get(major) ?? (major > NEWEST_LINE ? 0 : Number.POSITIVE_INFINITY)
  if (minor < firstMinor)
    throw unsupported(`this is Node.js ${nodeVersion}; segments need 20.19 or later, and not 21 to 22.1`)
}

export function unsupported(found: string, cause?: unknown): IsthmusError {
  return new IsthmusError(
    'ERR_ISTHMUS_UNSUPPORTED',
    `Using shared memory segments: ${found}. For the threads of one process, HeapRegion of @isthmus/sync works everywhere.`,
    { cause },
  )
}

function thisRuntime(): Runtime {
  return { platform: process.platform, arch: process.arch, nodeVersion: process.versions.node ?? '0.0' }
}
