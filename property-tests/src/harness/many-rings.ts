import { type SpscRing, spscRing } from '@isthmus/ring'
import { type Layout, struct } from '@isthmus/sync'

export const RINGS_PER_SEGMENT = 250

/** What a server shares with one of its peers. */
export const manyRings = struct(
  Object.fromEntries(
    Array.from({ length: RINGS_PER_SEGMENT }, (_, ring) => [`r${ring}`, spscRing({ capacityBytes: 64 })]),
  ),
) as Layout<Readonly<Record<string, SpscRing>>>
