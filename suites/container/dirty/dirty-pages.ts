import {
  expect,
  setBits,
  tryGetDirtyBitmap,
  type Container,
} from '../../../harness/testing/index.ts';
import { range, type Extent } from '../page-extents.ts';

/** Numbers of the pages that the extents cover. */
export const pagesOf = (extents: readonly Extent[]) =>
  extents.flatMap(([at, pages]) => Array.from({ length: pages }, (_, index) => at + index));

/** Which of `count` pages are dirty, counted from page `from`; nothing behind the bitmap may be written. */
export function dirtyPages(container: Container, count: number, from = 0): number[] {
  const answer = tryGetDirtyBitmap(container, range(from, count));
  expect(answer).toSucceed(0);
  expect(answer.value.intact).toBe(true);
  return setBits(answer.value.bitmap);
}
