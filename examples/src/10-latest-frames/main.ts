import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Segment } from 'isthmus'
import { FRAMES, frames } from './frames.js'

const name = `/isthmus-example-latest-frames-${process.pid}`
const segment = Segment.create(name, frames)
try {
  const viewer = start('viewer')
  const cameraEnded = once(start('camera'), 'exit')
  await once(viewer, 'message')
  viewer.kill('SIGKILL')
  await once(viewer, 'exit')
  console.log('A viewer has seen frames, and was killed.')

  // Another one begins with the newest frame. The camera has noticed nothing.
  let brightness = 0
  const next = start('viewer')
  next.on('message', (seen: { brightness: number }) => {
    brightness = seen.brightness
  })
  await Promise.all([once(next, 'exit'), cameraEnded])
  console.log(`The next one has seen the last of ${FRAMES} frames, of brightness ${brightness}.`)
  console.log(`Version ${segment.root.version} stays, though the camera is ${segment.root.describe().writer.state}.`)
} finally {
  segment.close()
  Segment.unlink(name)
}

function start(program: string): ChildProcess {
  return fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [name])
}
