import { plot, type PlotOptions } from '@observablehq/plot';
import { useLayoutEffect, useRef } from 'preact/hooks';

interface Props {
  /** What the plot shows, for those who cannot see it. */
  label: string;
  options: PlotOptions;
}

/** A plot of Observable Plot's in the colours of the page. */
export function PlotFigure({ label, options }: Props) {
  const figure = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const drawn = plot({
      ...options,
      style: { fontFamily: 'inherit', fontSize: '11px', background: 'none', overflow: 'visible' },
      ariaLabel: label,
    });
    figure.current?.replaceChildren(drawn);
  }, [label, options]);
  return <figure class="plot" ref={figure} />;
}

/** Colours of series, told apart by those who see few (Okabe and Ito). */
export const SERIES_COLORS = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `var(--series-${n})`);
