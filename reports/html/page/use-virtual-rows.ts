import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
} from '@tanstack/virtual-core';
import type { RefObject } from 'preact';
import { useLayoutEffect, useReducer, useState } from 'preact/hooks';

/** Height of a row and of the head of a table in CSS pixels; styles/table.css has the same. */
const ROW = 28;
const HEAD = 32;
/** Rows beyond what is seen, so that fast scrolling shows no gap. */
const SPARE_ROWS = 15;
const FIRST_GUESS = { width: 1000, height: 1000 };

/** The rows in sight of a table that scrolls in an element: thousands cost no more than a screenful. */
export function useVirtualRows(
  count: number,
  element: RefObject<HTMLElement | null>,
): Virtualizer<HTMLElement, HTMLElement> {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const options = {
    count,
    getScrollElement: () => element.current,
    estimateSize: () => ROW,
    scrollMargin: HEAD,
    scrollPaddingStart: HEAD,
    overscan: SPARE_ROWS,
    initialRect: FIRST_GUESS,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw(undefined),
  };
  const [virtualizer] = useState(() => new Virtualizer<HTMLElement, HTMLElement>(options));
  virtualizer.setOptions(options);
  useLayoutEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  return virtualizer;
}

/** The rows to draw, and the room in pixels that those left out above and below take. */
export function rowsInSight(virtualizer: Virtualizer<HTMLElement, HTMLElement>): {
  indexes: number[];
  above: number;
  below: number;
} {
  const items = virtualizer.getVirtualItems();
  const first = items[0];
  const last = items.at(-1);
  return {
    indexes: items.map(({ index }) => index),
    above: first ? first.start - HEAD : 0,
    below: last ? virtualizer.getTotalSize() - (last.end - HEAD) : 0,
  };
}
