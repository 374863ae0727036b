import { once } from 'node:events'
import { latest } from '@isthmus/ring'
import { Segment } from '@isthmus/shm-posix'
import { HeapRegion, waitAny } from '@isthmus/sync'
import { FRAME_BYTES, lookAt, Seen, takePicture } from './frame.js'
import type { Camera, FrameSeat, FrameSubject, Viewer } from './frame-subject.js'

const layout = latest({ byteLength: FRAME_BYTES })

/** Frames are written and looked at where they lie. */
export const isthmusFrames: FrameSubject = {
  name: 'isthmus',
  arrangement: 'processes',
  openCamera: async (seat) => cameraInPlace(await openRegion(seat)),
  openViewer: async (seat) => viewerInPlace(await openRegion(seat)),
}

export const isthmusThreadFrames: FrameSubject = { ...isthmusFrames, name: 'isthmus threads', arrangement: 'threads' }

/** Frames are copied in, and copied out into memory that each viewer has. */
export const isthmusCopiedFrames: FrameSubject = {
  name: 'isthmus copying',
  arrangement: 'processes',
  async openCamera(seat) {
    const region = await openRegion(seat)
    const writer = region.root.writer()
    const frame = new Uint8Array(FRAME_BYTES)
    return {
      show(sequence) {
        takePicture(frame, sequence)
        writer.write(frame)
      },
      close: () => region.close(),
    }
  },
  async openViewer(seat) {
    const region = await openRegion(seat)
    const into = new Uint8Array(FRAME_BYTES)
    let after = 0
    return {
      async watch(first, last) {
        const seen = new Seen(first, last)
        for (;;) {
          const { value, version } = await region.root.next({ after, into })
          after = version
          if (seen.take(lookAt(value, 0, value.byteLength))) return seen.count
        }
      },
      close: () => region.close(),
    }
  },
}

type FrameRegion = Segment<ReturnType<typeof layout.attach>> | HeapRegion<ReturnType<typeof layout.attach>>

/** The camera's side makes it. */
async function openRegion({ role, viewers, place, line }: FrameSeat): Promise<FrameRegion> {
  const { port, ports = [] } = line
  if (port === undefined) {
    const name = `${place.segmentPrefix}frames`
    return role === 'first' ? Segment.create(name, layout) : Segment.open(name, layout)
  }
  if (role === 'second') {
    const [handle] = await once(port, 'message')
    return HeapRegion.attach(handle, layout)
  }
  const region = HeapRegion.create(layout)
  if (ports.length !== viewers) throw new Error(`Showing frames: ${ports.length} ports for ${viewers} viewers`)
  for (const one of ports) one.postMessage(region.handle)
  return region
}

function cameraInPlace(region: FrameRegion): Camera {
  const writer = region.root.writer()
  return {
    show(sequence) {
      takePicture(writer.claim(), sequence)
      writer.commit()
    },
    close: () => region.close(),
  }
}

function viewerInPlace(region: FrameRegion): Viewer {
  const cell = region.root
  let version = 0
  return {
    async watch(first, last) {
      const seen = new Seen(first, last)
      for (;;) {
        await waitAny([cell.newerThan(version)])
        const look = cell.readInPlace(lookAt)
        if (look === undefined) continue
        version = look.version
        // Overtaken: a newer one is there.
        if (!look.isWhole) continue
        if (seen.take(look.value)) return seen.count
      }
    },
    close: () => region.close(),
  }
}
