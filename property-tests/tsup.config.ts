import { defineConfig } from 'tsup'

// The programs that tests start as processes and threads of their own; the packages they use are the built ones.
export default defineConfig({
  entry: ['src/programs/*.ts'],
  outDir: 'dist',
  format: 'esm',
  target: 'node20',
  clean: true,
})
