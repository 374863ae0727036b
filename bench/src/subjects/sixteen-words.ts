// Messages of 64 bytes in place: word number `w` holds the sequence number plus `w`. Unrolled by hand, as g++ does it for the native
// rings, and V8 does not.

export function writeSixteenWords(words: Int32Array, index: number, sequence: number): void {
  words[index] = sequence
  words[index + 1] = sequence + 1
  words[index + 2] = sequence + 2
  words[index + 3] = sequence + 3
  words[index + 4] = sequence + 4
  words[index + 5] = sequence + 5
  words[index + 6] = sequence + 6
  words[index + 7] = sequence + 7
  words[index + 8] = sequence + 8
  words[index + 9] = sequence + 9
  words[index + 10] = sequence + 10
  words[index + 11] = sequence + 11
  words[index + 12] = sequence + 12
  words[index + 13] = sequence + 13
  words[index + 14] = sequence + 14
  words[index + 15] = sequence + 15
}

export function areSixteenWordsRight(words: Int32Array, index: number, sequence: number): boolean {
  let sum = words[index]
  sum = (sum + words[index + 1]) | 0
  sum = (sum + words[index + 2]) | 0
  sum = (sum + words[index + 3]) | 0
  sum = (sum + words[index + 4]) | 0
  sum = (sum + words[index + 5]) | 0
  sum = (sum + words[index + 6]) | 0
  sum = (sum + words[index + 7]) | 0
  sum = (sum + words[index + 8]) | 0
  sum = (sum + words[index + 9]) | 0
  sum = (sum + words[index + 10]) | 0
  sum = (sum + words[index + 11]) | 0
  sum = (sum + words[index + 12]) | 0
  sum = (sum + words[index + 13]) | 0
  sum = (sum + words[index + 14]) | 0
  sum = (sum + words[index + 15]) | 0
  return sum === ((16 * sequence + 120) | 0)
}
