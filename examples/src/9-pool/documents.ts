/** What the workers work on: documents of any length. Document n consists of the byte n. */
export const DOCUMENTS = [300_000, 500_000, 200_000, 400_000, 600_000].map((byteLength, at) => {
  return { number: at + 1, byteLength }
})

export function sumOf(document: Uint8Array): number {
  return document.reduce((sum, byte) => sum + byte, 0)
}
