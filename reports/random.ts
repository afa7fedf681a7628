/** Numbers from 0 to 1 (exclusive), the same ones for the same seed: a 32-bit xorshift. */
export function seededRandom(seed: string): () => number {
  // FNV-1a makes a number of any seed text; 0 would stall the generator.
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(seed)) state = Math.imul(state ^ byte, 0x01000193);
  state = state >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
