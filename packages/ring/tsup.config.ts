import { defineConfig } from 'tsup'

// JavaScript only: tsup's own declaration step does not work with TypeScript 7, so tsc emits the declarations.
export default defineConfig({ entry: ['src/index.ts'], format: 'esm', target: 'node20', sourcemap: true, clean: true })
