import { closeSync, readSync } from 'node:fs'
import { openAnonymousFile } from '../native/anonymous-file.js'
import { hasCode } from '../native/system-error.js'
import { mapOverlay } from './overlay.js'

const SCRATCH_BYTES = 4096
const WORD = 0x15741415
const BYTE = 0x5a

/**
 * Tries the overlay once per thread, on scratch memory. It relies on how V8 allocates growable buffers and memories of
 * WebAssembly, which V8 does not promise. A value stored through one buffer has to appear in the file and in the other
 * buffer; after unmap, neither buffer may have anything to do with the file.
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
    const { words, bytes, unmap } = mapOverlay(fd, SCRATCH_BYTES)
    Atomics.store(words, 1, WORD)
    bytes[SCRATCH_BYTES - 1] = BYTE
    const inFile = new Uint8Array(SCRATCH_BYTES)
    readSync(fd, inFile, 0, SCRATCH_BYTES, 0)
    const reachedFile = new Int32Array(inFile.buffer)[1] === WORD && inFile[SCRATCH_BYTES - 1] === BYTE
    const isOneMemory = bytes[4] === (WORD & 0xff) && words[SCRATCH_BYTES / 4 - 1] === BYTE << 24
    unmap()
    const wasLetGo = Atomics.load(words, 1) === 0 && bytes[SCRATCH_BYTES - 1] === 0
    return reachedFile && isOneMemory && wasLetGo
  } catch (error) {
    // A shortage says nothing about the overlay.
    if (hasCode(error, 'EMFILE', 'ENFILE', 'ENOMEM')) throw error
    // For any other reason the overlay is not used here. The fallback mapper reports errors of its own.
    return false
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
