import type { LatestGeometry } from './geometry.js'
import { CURRENT_OFFSET, LENGTH_WORD, SLOTS_OFFSET, slotOfVersion } from './layout.js'

/**
 * After a crash of the machine, when pages of different age may have reached the disk: `current` must name a slot that has its
 * stamp and a possible length. No peer is attached.
 *
 * 1. If it does, nothing is changed.
 * 2. Otherwise, of the slots that have a possible stamp and length, the latest version becomes the current one.
 * 3. If there is none: nothing was written.
 *
 * Nothing tells whether the bytes of a value that is longer than a page are all of the same age.
 */
export function recoverLatest({ region, byteOffset, byteLength, slots, strideBytes }: LatestGeometry): void {
  const { words } = region
  const currentWord = (byteOffset + CURRENT_OFFSET) >>> 2
  const headerWordOf = (slot: number) => (byteOffset + SLOTS_OFFSET + slot * strideBytes) / 4
  const isWhole = (version: number): boolean => {
    const header = headerWordOf(slotOfVersion(version, slots))
    return version !== 0 && words[header] >>> 0 === version && words[header + LENGTH_WORD] >>> 0 <= byteLength
  }
  const current = words[currentWord] >>> 0
  if (current === 0 || isWhole(current)) return
  const found = Array.from({ length: slots }, (_, slot) => words[headerWordOf(slot)] >>> 0).filter(isWhole)
  found.sort((one, other) => (one - other) | 0)
  Atomics.store(words, currentWord, found.at(-1) ?? 0)
}
