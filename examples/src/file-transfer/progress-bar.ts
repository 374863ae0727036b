import cliProgress from 'cli-progress'
import { formatMegabytes } from './format.js'

const REDRAW_MS = 100

/**
 * Shows the progress of a transfer; returns the function that removes the bar. Without a terminal there is none. The bar
 * reads the progress a few times a second, so that it costs the transfer nothing.
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
