const ISTHMUS = '#0969da'
const ISTHMUS_RELATIVES = ['#54aeff', '#0a3069', '#2da8a8', '#80ccff']
const NATIVE = '#1f2328'
const NATIVE_RELATIVE = '#6e7781'
const OTHERS = [
  '#bc4c00',
  '#1a7f37',
  '#8250df',
  '#bf3989',
  '#9a6700',
  '#0f766e',
  '#cf222e',
  '#7d4e00',
  '#4f46e5',
  '#57606a',
]

export function isIsthmus(subject: string): boolean {
  return subject.split(' ')[0] === 'isthmus'
}

/** The color of each subject, the same in all charts of a report: isthmus blue, native black, each other one its own. */
export type Colors = ReadonlyMap<string, string>

export function colorsOf(subjects: Iterable<string>): Colors {
  const colors = new Map<string, string>()
  let relatives = 0
  let others = 0
  const next = (subject: string) => {
    if (subject === 'isthmus') return ISTHMUS
    if (isIsthmus(subject)) return ISTHMUS_RELATIVES[relatives++ % ISTHMUS_RELATIVES.length]
    if (subject === 'native') return NATIVE
    if (subject.startsWith('native ')) return NATIVE_RELATIVE
    return OTHERS[others++ % OTHERS.length]
  }
  for (const subject of new Set(subjects)) colors.set(subject, next(subject))
  return colors
}

/** As an encoding of a chart; the subjects' names stand in the chart, so there is no legend. */
export function colorBy(colors: Colors) {
  const scale = { domain: [...colors.keys()], range: [...colors.values()] }
  return { field: 'subject', type: 'nominal' as const, scale, legend: null }
}
