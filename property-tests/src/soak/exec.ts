import koffi from 'koffi'

const execv = koffi.load(null).func('int execv(const char *path, const char **arguments)')

/** Replaces a copy of this process by a new Node.js, which runs that program and has an event loop of its own. */
export function becomeProgram(file: string, argument: string): never {
  execv(process.execPath, [process.execPath, file, argument, null])
  throw new Error(`Starting ${file} failed with error number ${koffi.errno()}`)
}
