/** Numbers from 0 to below `limit`, all decided by the seed (Marsaglia, "Xorshift RNGs", 2003). */
export function seededNumbers(seed: number): (limit: number) => number {
  let state = seed | 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
