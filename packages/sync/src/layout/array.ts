import { IsthmusRangeError, inWords } from '../errors.js'
import { alignUp, assertLayout, type Layout, movedBy, REGION_BYTES_MAX, type WordPair } from './layout.js'

/**
 * The same layout several times in a row, attached as a frozen array.
 *
 * All elements are attached at once, as the fields of a struct are: an accessor for each would take as much memory, and
 * make every use of an element slower. For many plain numbers take `words(length)`, which is one array over the memory.
 *
 * @example
 * ```ts
 * const shop = struct({ tills: array(struct({ lock: mutex(), total: f64() }), 3) })
 * const { tills } = HeapRegion.create(shop).root
 * tills[2].total.value = 12.5
 * tills.length // 3
 * ```
 *
 * @param length how many elements, a positive integer
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` for an element that is no layout; IsthmusRangeError for the length
 */
export function array<T>(layout: Layout<T>, length: number): Layout<readonly T[]> {
  assertLayout(layout, 'Making an array')
  if (!Number.isSafeInteger(length) || length < 1) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making an array: length is ${inWords(length)}. Give a positive integer.`,
    )
  }
  const stride = alignUp(layout.byteLength, layout.byteAlignment)
  const byteLength = stride * length
  if (byteLength > REGION_BYTES_MAX) {
    throw new IsthmusRangeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making an array: ${length} elements of ${stride} bytes exceed the ${REGION_BYTES_MAX} bytes of a region. Give a smaller length.`,
    )
  }

  return {
    byteAlignment: layout.byteAlignment,
    byteLength,
    signature: `array(length=${length}){${layout.signature}}`,
    backlog: backlogOf(layout, stride, length),

    initialize(region, start) {
      for (let index = 0; index < length; index++) layout.initialize(region, start + index * stride)
    },
    attach(region, start, path = '') {
      const elements: T[] = []
      for (let index = 0; index < length; index++) {
        elements.push(layout.attach(region, start + index * stride, `${path}[${index}]`))
      }
      return Object.freeze(elements)
    },
    sweep(region, start, deadPeer) {
      for (let index = 0; index < length; index++) layout.sweep(region, start + index * stride, deadPeer)
    },
    recover(region, start) {
      for (let index = 0; index < length; index++) layout.recover?.(region, start + index * stride)
    },
  }
}

function backlogOf(layout: Layout<unknown>, stride: number, length: number): WordPair[] {
  const { backlog = [] } = layout
  if (backlog.length === 0) return []
  return Array.from({ length }, (_, index) => movedBy(index * stride, backlog)).flat()
}
