/** About 3 KiB of frames: more than any of our clean-ups takes. */
const FRAMES = 16

/**
 * Throws the RangeError of a full stack here, where nothing has been entered yet. A program that recurses to the edge may
 * call us there; thrown half-way, between entering and leaving, it could also meet the call that leaves.
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
