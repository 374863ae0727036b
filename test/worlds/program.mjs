// program NAME FILE: to be bundled.
import { useEverything } from './public-surface.mjs'

const [, , name, file] = process.argv
// Not a top-level await, which CommonJS does not have.
useEverything({ name, file }).then(console.log)
