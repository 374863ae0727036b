import { realpathSync } from 'node:fs'
import nodeModule from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { unsupported } from './support.js'
import { hasCode } from './system-error.js'

/** Exists in CommonJS only, into which a bundler may have converted this module. */
declare const __filename: string | undefined

/** A package in a node_modules folder, not loaded yet. */
export interface InstalledPackage {
  /** The path of its main module. */
  readonly path: string
  load(): unknown
}

/**
 * Finds a package at run time, so that bundlers do not see it.
 * @param role what the package is for, for the error
 * @param advice what to do if it is not there
 * @throws IsthmusError `ERR_ISTHMUS_UNSUPPORTED`
 */
export function findInstalled(name: string, role: string, advice: string): InstalledPackage {
  const seekers = possibleSeekers()
  let notFound: unknown
  for (const seeker of seekers) {
    // Neither imported by its name nor called `require`: a bundler would replace that by a lookup of its own, which fails.
    const load = nodeModule.createRequire(seeker)
    try {
      const resolved = load.resolve(name)
      // By its real path: koffi looks for its binary beside that, also with --preserve-symlinks.
      const path = realPathOf(resolved) ?? resolved
      return { path, load: () => load(path) }
    } catch (error) {
      if (!hasCode(error, 'MODULE_NOT_FOUND')) throw cannotLoad(name, role, error)
      notFound ??= error
    }
  }
  throw unsupported(
    `${name}, ${role}, is not installed where it was looked for: in the node_modules folders seen from ${seekers.join(', ')}. ${advice}`,
    notFound,
  )
}

/** @param path where it was found */
export function cannotLoad(name: string, role: string, cause: unknown, path?: string): Error {
  const subject = path === undefined ? `${name}, ${role},` : `${name}, ${role}, was found (${path}) but`
  if (hasCode(cause, 'ERR_DLOPEN_DISABLED')) {
    const isPermissionModel = 'permission' in process
    const advice = isPermissionModel ? 'Start Node.js with --allow-addons, too' : 'Start Node.js without --no-addons'
    return unsupported(`${subject} may not be loaded, since native addons are disabled. ${advice}`, cause)
  }
  if (hasCode(cause, 'ERR_ACCESS_DENIED')) {
    const { resource = 'its files' } = cause as { resource?: string }
    return unsupported(
      `${subject} cannot be loaded, since Node.js's permission model denies reading ${resource}. Start Node.js with --allow-fs-read for it, and with --allow-addons`,
      cause,
    )
  }
  const { message = String(cause) } = (cause ?? {}) as { message?: string }
  return unsupported(
    `${subject} cannot be loaded (${message.split('\n')[0]}). Install it anew, with its optional packages`,
    cause,
  )
}

/**
 * Files from which the package may be found in a node_modules folder, the likeliest first. Usually that is this module.
 * Node.js may know it by a symbolic link (--preserve-symlinks); in a bundle, `import.meta.url` is empty, or names a path of
 * the machine that built it.
 */
function possibleSeekers(): string[] {
  const own = [pathOfUrl(import.meta.url), commonJsPath()]
  const candidates = [...own, ...own.map(realPathOf), process.argv[1], inWorkingDirectory()]
  return [...new Set(candidates.filter((path) => path?.startsWith('/')))] as string[]
}

function commonJsPath(): string | undefined {
  try {
    return typeof __filename === 'string' ? __filename : undefined
  } catch {
    // webpack replaces the `typeof` by 'string', also if there is no such variable.
    return undefined
  }
}

function pathOfUrl(url: string | undefined): string | undefined {
  try {
    return url === undefined ? undefined : fileURLToPath(url)
  } catch {
    // Not a file: URL; bundlers invent others.
    return undefined
  }
}

function realPathOf(path: string | undefined): string | undefined {
  try {
    return path === undefined ? undefined : realpathSync(path)
  } catch {
    // The path is not on this machine, or may not be read.
    return undefined
  }
}

function inWorkingDirectory(): string | undefined {
  try {
    return join(process.cwd(), 'package.json')
  } catch {
    // The working directory was removed.
    return undefined
  }
}
