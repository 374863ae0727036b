import { defineConfig } from 'tsup'
import library from '../../tsup.library.js'

/** Two entries that share their modules: two copies would mean two classes of each error. */
export default defineConfig({ ...library, entry: ['src/index.ts', 'src/internal.ts'] })
