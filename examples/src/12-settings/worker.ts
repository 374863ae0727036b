import { Segment } from 'isthmus'
import { name, settings } from './settings.js'

using segment = Segment.open(process.argv[2] ?? name, settings)
// The newest settings first, then each change. Changes that are made while the body runs are skipped, except the newest.
for await (const { value, version } of segment.root.watch()) {
  console.log(`version ${version}: ${value.greeting}, at volume ${value.volume}`)
  process.send?.(`${value.greeting}, at volume ${value.volume}`)
  if (value.isOver) break
}
process.disconnect?.()
