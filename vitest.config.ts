import { defineConfig } from 'vitest/config'

/** Workspace packages resolve to their sources, in one copy each: two would mean two error classes. */
const conditions = ['@isthmus/source', 'module', 'node', 'development|production']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      'bench/test/**/*.test.ts',
      'packages/*/test/**/*.test.ts',
      'property-tests/test/**/*.test.ts',
      'test/**/*.test.ts',
    ],
    pool: 'forks',
    // Watchdogs, not measurements: a loaded machine may take its time.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 30_000 } },
  },
})
