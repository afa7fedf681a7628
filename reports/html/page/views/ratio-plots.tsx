import { dot, link, rectX, ruleX, tip, pointerY } from '@observablehq/plot';
import { useMemo } from 'preact/hooks';
import {
  VERDICTS,
  type BenchComparison,
  type OperationComparison,
} from '../../../bench/compare.ts';
import { latency } from '../../../bench/table.ts';
import { count } from '../../../text.ts';
import { PlotFigure } from '../plot-figure.tsx';
import { useReport } from '../report.ts';

/** The first run against each of the others: ratios of medians with their intervals. */
export function RatioPlots({ names }: { names: readonly string[] }) {
  const { data } = useReport();
  return (
    <div class="plots">
      {data.benchComparisons.map((comparison, index) => (
        <RatioPlot
          key={index}
          title={`${names[index + 1]} against ${names[0]}`}
          comparison={comparison}
        />
      ))}
    </div>
  );
}

const VERDICT_ORDER = Object.keys(VERDICTS) as (keyof typeof VERDICTS)[];
const VERDICT_COLORS = ['var(--fail)', 'var(--pass)', 'var(--timeout)', 'var(--skip)'];
const ROW_HEIGHT = 18;
/** Width of a letter of an id. */
const LETTER = 6.2;

function RatioPlot({ title, comparison }: { title: string; comparison: BenchComparison }) {
  const { operations, machine, threshold, interleaved, warnings } = comparison;
  const options = useMemo(() => {
    const limit = 1 + threshold / 100;
    const sorted = [...operations, ...machine].toSorted(
      (a, b) =>
        VERDICT_ORDER.indexOf(a.verdict) - VERDICT_ORDER.indexOf(b.verdict) || b.ratio - a.ratio,
    );
    const longest = Math.max(...sorted.map(({ id }) => id.length), 0);
    return {
      width: 560 + longest * LETTER,
      height: 70 + sorted.length * ROW_HEIGHT,
      marginLeft: 16 + longest * LETTER,
      marginTop: 30,
      x: {
        type: 'log' as const,
        label: 'B / A',
        axis: 'top' as const,
        tickFormat: '.3~f',
        grid: true,
      },
      y: { label: null, domain: sorted.map(({ id }) => id) },
      color: {
        domain: VERDICT_ORDER.map((verdict) => VERDICTS[verdict]),
        range: VERDICT_COLORS,
      },
      symbol: { domain: VERDICT_ORDER.map((verdict) => VERDICTS[verdict]), legend: true },
      marks: [
        rectX([{ from: 1 / limit, to: limit }], {
          x1: 'from',
          x2: 'to',
          fill: 'var(--sunken)',
        }),
        ruleX([1], { stroke: 'var(--ink-soft)' }),
        link(sorted, {
          x1: ({ interval }) => interval[0],
          x2: ({ interval }) => interval[1],
          y1: 'id',
          y2: 'id',
          stroke: wordsOf,
          strokeWidth: 2,
        }),
        dot(sorted, { x: 'ratio', y: 'id', fill: wordsOf, symbol: wordsOf, r: 4 }),
        tip(sorted, pointerY({ x: 'ratio', y: 'id', title: tipOf })),
      ],
    };
  }, [operations, machine, threshold]);
  return (
    <section class="plot-section">
      <h2>{title}</h2>
      <p class="note">
        {count(operations.length, 'operation')};{' '}
        {interleaved ? 'round by round in turn' : 'one after the other'}; the band is the threshold
        of {threshold} %; harness.* is the machine itself
      </p>
      <ul class="warnings">
        {warnings.map(({ text, next }) => (
          <li key={text}>
            {text} <span class="note">{next}</span>
          </li>
        ))}
      </ul>
      <PlotFigure label={`Ratios of ${title}`} options={options} />
    </section>
  );
}

function wordsOf({ verdict }: OperationComparison): string {
  return VERDICTS[verdict];
}

function tipOf({ id, a, b, ratio, interval, verdict }: OperationComparison): string {
  const bounds = interval.map((bound) => bound.toFixed(3)).join(' – ');
  return `${id}\n${latency(a)} → ${latency(b)}\n${ratio.toFixed(3)} (${bounds}): ${VERDICTS[verdict]}`;
}
