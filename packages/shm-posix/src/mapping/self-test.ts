import { closeSync, readSync } from 'node:fs'
import { openAnonymousFile } from '../native/anonymous-file.js'
import { hasCode } from '../native/system-error.js'
import { mapOverlay } from './overlay.js'

const SCRATCH_BYTES = 4096

/**
 * The overlay rests on how V8 keeps growable buffers, which nobody promises. So it is tried once per thread, on memory
 * that matters to nobody: what is stored through the SharedArrayBuffer has to be in the file, and the other way round.
 */
export function doesOverlayWork(): boolean {
  // Bun's engine keeps the address range after a buffer is collected and gives it out again with the file still mapped.
  if (process.versions.bun !== undefined) return false
  verdict ??= tryOverlay()
  return verdict
}

let verdict: boolean | undefined

function tryOverlay(): boolean {
  let fd: number | undefined
  try {
    fd = openAnonymousFile(SCRATCH_BYTES)
    const mapping = mapOverlay(fd, SCRATCH_BYTES)
    Atomics.store(mapping.words, 1, 0x15741415)
    mapping.bytes[SCRATCH_BYTES - 1] = 0x5a
    const inFile = new Uint8Array(SCRATCH_BYTES)
    readSync(fd, inFile, 0, SCRATCH_BYTES, 0)
    mapping.unmap()
    const reachedFile = new Int32Array(inFile.buffer)[1] === 0x15741415 && inFile[SCRATCH_BYTES - 1] === 0x5a
    const isShared = mapping.words.buffer instanceof SharedArrayBuffer
    const wasLetGo = Atomics.load(mapping.words, 1) === 0
    return reachedFile && isShared && wasLetGo
  } catch (error) {
    // Says nothing about the overlay.
    if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error
    // Whatever else it was, the overlay is not to be used here; the fallback mapper reports errors of its own.
    return false
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
