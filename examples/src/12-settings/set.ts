import { Segment } from 'isthmus'
import { defaults, name, type Settings, settings } from './settings.js'

const [changes = '{}', where = name] = process.argv.slice(2)
using segment = Segment.openOrCreate(where, settings)
// Another program that changes them at the same time is refused: so reading and writing are one step.
using writer = segment.root.writer()
const { value } = segment.root.read() ?? { value: defaults }
const version = writer.write({ ...value, ...(JSON.parse(changes) as Partial<Settings>) })
console.log(`version ${version}`)
