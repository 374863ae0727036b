import { latest } from 'isthmus'

/** 1080p, four bytes for each pixel. */
export const FRAME_BYTES = 1920 * 1080 * 4
export const FRAMES = 60
export const FRAMES_PER_SECOND = 60

/** Only the newest frame matters: a viewer that is slow misses frames, and the camera never waits for one. */
export const frames = latest({ byteLength: FRAME_BYTES })
