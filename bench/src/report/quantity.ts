import type { Unit } from '../harness/contest.js'

interface Scale {
  readonly factor: number
  readonly name: string
}

/** In ascending order. */
const SCALES: Record<Unit, readonly Scale[]> = {
  'msg/s': [
    { factor: 1, name: 'msg/s' },
    { factor: 1e3, name: 'k msg/s' },
    { factor: 1e6, name: 'M msg/s' },
  ],
  'op/s': [
    { factor: 1, name: 'op/s' },
    { factor: 1e3, name: 'k op/s' },
    { factor: 1e6, name: 'M op/s' },
  ],
  'B/s': [
    { factor: 1e3, name: 'kB/s' },
    { factor: 1e6, name: 'MB/s' },
    { factor: 1e9, name: 'GB/s' },
  ],
  share: [{ factor: 0.01, name: '%' }],
  s: [
    { factor: 1e-9, name: 'ns' },
    { factor: 1e-6, name: 'µs' },
    { factor: 1e-3, name: 'ms' },
    { factor: 1, name: 's' },
  ],
  cores: [{ factor: 0.01, name: '% of a core' }],
}

/** A value in its base unit, for people: three digits, and the scale that fits. */
export function formatQuantity(value: number, unit: Unit): string {
  const scales = SCALES[unit]
  const fitting = scales.findLast(({ factor }) => value >= factor) ?? scales[0]
  const scaled = value / fitting.factor
  const digits = scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2
  return `${scaled.toFixed(digits)} ${fitting.name}`
}
