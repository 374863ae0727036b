const wholeNumber = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const oneDigit = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })

/** A megabyte is a million bytes. */
export function formatMegabytes(byteLength: number): string {
  if (byteLength === 1) return '1 byte'
  return byteLength < 100_000 ? `${wholeNumber.format(byteLength)} bytes` : `${oneDigit.format(byteLength / 1e6)} MB`
}

export function formatMebibytes(byteLength: number): string {
  return `${byteLength / 2 ** 20} MiB`
}

export function formatSpeed(bytesPerSecond: number): string {
  return `${wholeNumber.format(bytesPerSecond / 1e6)} MB/s`
}
