import type { Layout } from '../../src/index.js'

/** A layout that writes down with which byte offset it is called. */
export function spy(name: string, byteLength: number, byteAlignment: number, calls: string[] = []): Layout<string> {
  return {
    byteLength,
    byteAlignment,
    signature: name,
    initialize: (_region, byteOffset) => void calls.push(`initialize ${name} ${byteOffset}`),
    attach: (_region, byteOffset) => `${name}@${byteOffset}`,
    sweep: (_region, byteOffset, peer) => void calls.push(`sweep ${name} ${byteOffset} ${peer}`),
    recover: (_region, byteOffset) => void calls.push(`recover ${name} ${byteOffset}`),
  }
}
