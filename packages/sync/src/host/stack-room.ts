/** About 3 KiB of frames: more than any clean-up of isthmus takes. */
const FRAMES = 16

/**
 * Throws the RangeError of a full stack here, before the caller has entered a queue or a table. A program that recurses to
 * the edge of its stack may call isthmus there. If the error came later, between entering and leaving, the call that
 * leaves could fail as well.
 */
export function assertStackRoom(): void {
  descend(FRAMES, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

/** About 50 KiB: the engine wants 40 KiB of room to compile a function that is called for the first time, or again after long. */
const FRAMES_TO_COMPILE = 320

/**
 * As assertStackRoom, for a clean-up whose functions may not be compiled: without room for that, the first call of one of them
 * throws the same RangeError. It takes some microseconds.
 * @param moreFrames for a caller after which others ask the same, which must not throw
 */
export function assertRoomToCompile(moreFrames = 0): void {
  descend(FRAMES_TO_COMPILE + moreFrames, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

function descend(
  frames: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
  g: number,
  h: number,
  i: number,
  j: number,
  k: number,
  l: number,
): void {
  if (frames > 0) descend(frames - 1, a, b, c, d, e, f, g, h, i, j, k, l)
}
