import { defineConfig } from 'tsup'

export default defineConfig({
  entry: ['src/main.ts', 'src/agent.ts'],
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  skipNodeModulesBundle: true,
  // The compiled native subject is kept: it is made anew where its source is newer.
  clean: ['!native/**'],
})
