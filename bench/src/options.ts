import { parseArgs } from 'node:util'

export interface Options {
  /** Which contestants run, as `scenario / work / subject`. */
  readonly only: RegExp
  readonly brief: boolean
  /** The folder of another build of the benchmarks, whose isthmus runs beside this one's. */
  readonly before: string | undefined
  /** A file that --json has written: its results are shown, and nothing runs. */
  readonly resultsFile: string | undefined
  readonly jsonFile: string | undefined
  /** Whether the charts and tables of bench/report are made anew, and the figures of the README. */
  readonly report: boolean
  readonly help: boolean
}

export const USAGE = `Usage: npm run bench -- [options]

  --only PATTERN  runs only what matches this regular expression; what runs is called "scenario / work / subject"
  --brief         one short round: shows that everything works, measures little
  --before DIR    runs the isthmus of another working tree, DIR, beside this one's, as "isthmus before"; with --only,
                  since both must know what runs
  --json FILE     writes the results there too
  --results FILE  shows what --json has written, and runs nothing
  --report        makes the charts and tables of bench/report anew, and, after a whole run, the README's figures
  --help          shows this`

/** @throws TypeError for an unknown option, SyntaxError for a pattern that is no regular expression */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: '' },
      brief: { type: 'boolean', default: false },
      before: { type: 'string' },
      results: { type: 'string' },
      json: { type: 'string' },
      report: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  return {
    only: new RegExp(values.only, 'i'),
    brief: values.brief,
    before: values.before,
    resultsFile: values.results,
    jsonFile: values.json,
    report: values.report,
    help: values.help,
  }
}
