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
    'src/6-job-queue/main.ts',
    'src/6-job-queue/worker.ts',
    'src/7-frames/main.ts',
    'src/7-frames/camera.ts',
    'src/8-priorities/main.ts',
    'src/9-pool/one-segment-manager.ts',
    'src/9-pool/one-segment-worker.ts',
    'src/9-pool/many-segments-sender.ts',
    'src/9-pool/many-segments-worker.ts',
    'src/file-transfer/receive.ts',
    'src/file-transfer/send.ts',
  ],
  format: 'esm',
  target: 'node20',
  splitting: false,
  sourcemap: true,
  clean: true,
})
