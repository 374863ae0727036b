const WIDTH = 165

/** An axis with the names of subjects; always of one width, so that panels below each other begin at one line. */
export const NAMES_AXIS = {
  title: null,
  ticks: false,
  domain: false,
  labelPadding: 8,
  // Widths are estimated, and too large.
  labelLimit: 2 * WIDTH,
  minExtent: WIDTH,
  maxExtent: WIDTH,
}
