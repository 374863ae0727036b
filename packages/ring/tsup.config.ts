import { defineConfig } from 'tsup'
import library from '../../tsup.library.js'

/** `structured` is an entry of its own, since it imports a Node.js module, and the main one runs in browsers. */
export default defineConfig({ ...library, entry: ['src/index.ts', 'src/structured.ts'] })
