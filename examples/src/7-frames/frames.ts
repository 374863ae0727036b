import { mpmcQueue } from 'isthmus'

export const FRAME_BYTES = 8 * 1024 * 1024

/** Three frames: one is written, one waits, one is looked at. */
export const frames = mpmcQueue({ blocks: 3, blockBytes: FRAME_BYTES })
