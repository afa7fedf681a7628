/** Four pages of memory as a device sees them. */
export const PAGE = 4096;
export const P = 4096n;
export const BASE = 0x100000n;
export const PAGES = 4;
export const SIZE = BigInt(PAGES) * P;

/** Where in memory with a pattern each page begins, and at which IOVA. */
export const PLACES = [0, 1, 2, 3].map((page) => ({
  iova: BASE + BigInt(page) * P,
  phase: page * PAGE,
}));
