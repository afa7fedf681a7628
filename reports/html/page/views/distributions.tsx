import { rectY, ruleX, tickX, tip, pointerX, text } from '@observablehq/plot';
import { useMemo } from 'preact/hooks';
import { latency } from '../../../bench/table.ts';
import type { ReportBench } from '../../data.ts';
import { isMeasured, type BenchRow } from '../bench-model.ts';
import { PlotFigure, SERIES_COLORS } from '../plot-figure.tsx';

interface Props {
  same: readonly BenchRow[];
  names: readonly string[];
  benches: readonly ReportBench[];
}

/** Half the ratio of a bar's bounds; the writer of the page made buckets about as wide. */
const HALF_BAR = 1.015;
const PERCENTILES = ['p50', 'p90', 'p99'] as const;

/** Histograms on a logarithmic scale, one below the other; each bucket beyond p99 is marked, however rare. */
export function Distributions({ same, names, benches }: Props) {
  const options = useMemo(() => {
    const bars = same.flatMap(({ bench, run }) => {
      const buckets = benches[run]?.distributions[bench.id] ?? [];
      return buckets.map(([ns, samples]) => ({
        run: names[run] ?? '',
        ns,
        samples,
        share: samples / bench.samples,
        far: bench.summary !== null && ns > bench.summary.p99,
      }));
    });
    const marks = same.flatMap(({ bench, run }) =>
      isMeasured(bench)
        ? PERCENTILES.map((name) => ({ run: names[run] ?? '', name, ns: bench.summary[name] }))
        : [],
    );
    const fy = same.length > 1 ? 'run' : undefined;
    return {
      width: 560,
      height: 60 + 130 * same.length,
      marginLeft: 44,
      marginRight: same.length > 1 ? 120 : 20,
      x: { type: 'log' as const, label: 'latency', tickFormat: latency, ticks: 6 },
      y: { label: 'share', tickFormat: '%', grid: true, ticks: 3, insetTop: 12 },
      fy: { label: null, domain: same.map(({ run }) => names[run] ?? '') },
      color: { domain: names, range: SERIES_COLORS },
      marks: [
        rectY(bars, {
          x1: ({ ns }) => ns / HALF_BAR,
          x2: ({ ns }) => ns * HALF_BAR,
          y: 'share',
          fill: 'run',
          fy,
        }),
        tickX(
          bars.filter(({ far }) => far),
          { x: 'ns', stroke: 'var(--ink)', insetTop: 108, fy },
        ),
        ruleX(marks, { x: 'ns', stroke: 'var(--ink-soft)', strokeDasharray: '2,2', fy }),
        ...PERCENTILES.map((name, index) =>
          text(
            marks.filter((mark) => mark.name === name),
            {
              x: 'ns',
              text: 'name',
              frameAnchor: 'top' as const,
              textAnchor: 'start' as const,
              dx: 3,
              // Below one another: they may lie side by side.
              dy: 11 * index,
              fill: 'var(--ink-soft)',
              fy,
            },
          ),
        ),
        tip(
          bars,
          pointerX({
            x: 'ns',
            y: 'share',
            title: ({ ns, samples }: (typeof bars)[number]) => `${latency(ns)}: ${samples} samples`,
            fy,
          }),
        ),
      ],
    };
  }, [same, names, benches]);
  return <PlotFigure label="Distribution of the samples" options={options} />;
}
