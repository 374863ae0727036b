import { IsthmusTypeError, inWords } from '../errors.js'
import { type Attached, alignUp, assertLayout, type Layout, movedBy } from './layout.js'

/** JavaScript moves such keys before the others, so two programs could disagree about the offsets. */
type IntegerLike = `${bigint}` | number
type Fields = { readonly [key: string]: Layout<unknown> }
type WithoutIntegerKeys<F> = { readonly [K in keyof F]: K extends IntegerLike ? never : F[K] }

/**
 * Several layouts one after the other, in the order in which they are written.
 *
 * @example
 * ```ts
 * const orders = struct({ total: f64(), seen: u32() })
 * const region = HeapRegion.create(orders)
 * region.root.total.value = 12.5
 * ```
 *
 * @throws IsthmusTypeError `ERR_ISTHMUS_INVALID_ARGUMENT` if a key reads as an integer, a field is no layout, or there is no field
 */
export function struct<const F extends Fields>(
  fields: F & WithoutIntegerKeys<F>,
): Layout<{ readonly [K in keyof F]: Attached<F[K]> }> {
  if (typeof fields !== 'object' || fields === null) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      `Making a struct: got ${inWords(fields)}. Give an object with a layout for each field.`,
    )
  }
  const members = place(Object.entries<Layout<unknown>>(fields))
  const last = members.at(-1)
  if (last === undefined) {
    throw new IsthmusTypeError(
      'ERR_ISTHMUS_INVALID_ARGUMENT',
      'Making a struct: it has no field. Give it at least one.',
    )
  }
  const byteAlignment = Math.max(...members.map(({ layout }) => layout.byteAlignment))

  return {
    byteAlignment,
    byteLength: alignUp(last.byteOffset + last.layout.byteLength, byteAlignment),
    signature: `struct{${members.map(({ key, layout }) => `${quoted(key)}:${layout.signature}`).join(',')}}`,
    backlog: members.flatMap(({ layout, byteOffset }) => movedBy(byteOffset, layout.backlog ?? [])),

    initialize(region, start) {
      for (const { layout, byteOffset } of members) layout.initialize(region, start + byteOffset)
    },
    attach(region, start, path) {
      const attached = members.map(({ key, layout, byteOffset }) => {
        return [key, layout.attach(region, start + byteOffset, path === undefined ? key : `${path}.${key}`)]
      })
      return Object.freeze(Object.fromEntries(attached))
    },
    sweep(region, start, deadPeer) {
      for (const { layout, byteOffset } of members) layout.sweep(region, start + byteOffset, deadPeer)
    },
    recover(region, start) {
      for (const { layout, byteOffset } of members) layout.recover?.(region, start + byteOffset)
    },
  }
}

interface Member {
  readonly key: string
  readonly layout: Layout<unknown>
  readonly byteOffset: number
}

function place(entries: [string, Layout<unknown>][]): Member[] {
  let end = 0
  return entries.map(([key, layout]) => {
    if (/^(0|-?[1-9]\d*)$/.test(key)) {
      throw new IsthmusTypeError(
        'ERR_ISTHMUS_INVALID_ARGUMENT',
        `Making a struct: the key "${key}" reads as an integer, and JavaScript puts such keys first. Give it a name.`,
      )
    }
    assertLayout(layout, `Making a struct, at its field "${key}"`)
    const byteOffset = alignUp(end, layout.byteAlignment)
    end = byteOffset + layout.byteLength
    return { key, layout, byteOffset }
  })
}

/** Plain names stay as they are; others are quoted, so that no two structs share a signature. */
function quoted(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key)
}
