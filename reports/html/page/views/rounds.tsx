import { dot, link, line } from '@observablehq/plot';
import { useMemo } from 'preact/hooks';
import { latency } from '../../../bench/table.ts';
import type { BenchRow } from '../bench-model.ts';
import { PlotFigure, SERIES_COLORS } from '../plot-figure.tsx';

interface Props {
  same: readonly BenchRow[];
  names: readonly string[];
}

/** The median of each round, with a line up to its p90: what moves from round to round is noise. */
export function Rounds({ same, names }: Props) {
  const options = useMemo(() => {
    const points = same.flatMap(({ bench, run }) =>
      bench.rounds.map(({ p50, p90 }, round) => ({ run: names[run] ?? '', round, p50, p90 })),
    );
    return {
      width: 560,
      height: 170,
      marginLeft: 60,
      x: { label: 'round', tickFormat: 'd', ticks: roundsOf(same), inset: 8 },
      y: { type: 'log' as const, label: 'latency', tickFormat: latency, ticks: 4, grid: true },
      color: { domain: names, range: SERIES_COLORS, legend: same.length > 1 },
      marks: [
        link(points, {
          x1: 'round',
          x2: 'round',
          y1: 'p50',
          y2: 'p90',
          stroke: 'run',
          strokeOpacity: 0.4,
        }),
        line(points, { x: 'round', y: 'p50', z: 'run', stroke: 'run' }),
        dot(points, {
          x: 'round',
          y: 'p50',
          fill: 'run',
          title: ({ p50, p90 }: (typeof points)[number]) =>
            `p50 ${latency(p50)}, p90 ${latency(p90)}`,
        }),
      ],
    };
  }, [same, names]);
  return <PlotFigure label="Median of each round" options={options} />;
}

/** The numbers of the rounds, so that no tick stands between two. */
function roundsOf(same: readonly BenchRow[]): number[] {
  const most = Math.max(0, ...same.map(({ bench }) => bench.rounds.length));
  return Array.from({ length: most }, (_, round) => round);
}
