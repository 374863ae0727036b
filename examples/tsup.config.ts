import { defineConfig } from 'tsup'

/** Every program is one file that runs alone: no chunks shared between them, and the packages as any program gets them. */
export default defineConfig({
  entry: [
    'src/1-two-threads/main.ts',
    'src/1-two-threads/worker.ts',
    'src/2-two-processes/producer.ts',
    'src/2-two-processes/consumer.ts',
    'src/3-in-place/main.ts',
    'src/4-locks/main.ts',
    'src/4-locks/teller.ts',
    'src/5-many-peers/main.ts',
    'src/5-many-peers/guest.ts',
    'src/file-transfer/receive.ts',
    'src/file-transfer/send.ts',
  ],
  format: 'esm',
  target: 'node20',
  splitting: false,
  sourcemap: true,
  clean: true,
})
