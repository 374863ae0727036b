import type { Arrangement, Line, Role } from '../../harness/assignment.js'
import type { Place } from '../../harness/place.js'

export interface FrameSeat {
  readonly role: Role
  readonly index: number
  /** How many viewers there are. */
  readonly viewers: number
  readonly place: Place
  readonly line: Line
}

/** The side that shows frames, of which only the newest matters. */
export interface Camera {
  /** Shows this frame to all viewers that are not busy. Resolves when the camera may take the next one. */
  show(sequence: number): void | Promise<void>
  /** Resolves when all viewers are there. */
  connected?(): Promise<void>
  close(): void
}

export interface Viewer {
  /** Looks at frames, from the one after `first` on, until it has seen `last`. Returns how many it has seen. */
  watch(first: number, last: number): Promise<number>
  close(): void
}

/** A way to show frames of a camera to several viewers. */
export interface FrameSubject {
  readonly name: string
  readonly arrangement: Arrangement & ('processes' | 'threads')
  openCamera(seat: FrameSeat): Promise<Camera>
  openViewer(seat: FrameSeat): Promise<Viewer>
}
