import cliProgress from 'cli-progress'
import { formatMegabytes } from './format.js'

const REDRAW_MS = 100

/**
 * Shows how far a transfer has come; returns the function that takes the bar away. Without a terminal there is none.
 * It looks now and then by itself, so that it costs the transfer nothing.
 */
export function showProgress(label: string, totalBytes: number, doneBytes: () => number): () => void {
  const bar = new cliProgress.SingleBar(
    {
      format: `${label} {bar} {percentage} %  {done} of ${formatMegabytes(totalBytes)}`,
      stream: process.stdout,
      clearOnComplete: true,
      hideCursor: true,
    },
    cliProgress.Presets.shades_classic,
  )
  bar.start(totalBytes, 0, { done: formatMegabytes(0) })
  const timer = setInterval(() => bar.update(doneBytes(), { done: formatMegabytes(doneBytes()) }), REDRAW_MS)
  return () => {
    clearInterval(timer)
    bar.stop()
  }
}
