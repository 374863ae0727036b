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
