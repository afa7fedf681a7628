import { useMemo } from 'preact/hooks';
import { benchNames, benchRows } from '../bench-model.ts';
import { useReport } from '../report.ts';
import { BenchTable } from './bench-table.tsx';
import { CostPlots } from './cost-plots.tsx';
import { RatioPlots } from './ratio-plots.tsx';

/** Benchmarks: the figures one by one, how cost grows, and one kernel against another. */
export function BenchmarksView() {
  const { data, route, choose } = useReport();
  const rows = useMemo(() => benchRows(data.benches), [data]);
  const names = useMemo(() => benchNames(data.benches), [data]);
  const parts = {
    table: 'Figures',
    cost: 'Cost over size',
    ...(data.benchComparisons.length > 0 && { ratios: 'A/B ratios' }),
  };
  const part = Object.keys(parts).find((name) => name === route.params['show']) ?? 'table';
  return (
    <>
      <div class="toolbar">
        {Object.entries(parts).map(([name, title]) => (
          <button
            key={name}
            type="button"
            aria-pressed={name === part}
            onClick={() => choose({ show: name })}
          >
            {title}
          </button>
        ))}
        <BenchWarnings />
      </div>
      {part === 'table' && <BenchTable rows={rows} names={names} />}
      {part === 'cost' && <CostPlots rows={rows} names={names} />}
      {part === 'ratios' && <RatioPlots names={names} />}
    </>
  );
}

/** What is odd about the runs as a whole. */
function BenchWarnings() {
  const { data } = useReport();
  const warnings = new Map(
    data.benches.flatMap(({ results }) => results.run.warnings.map((one) => [one.text, one])),
  );
  return (
    <ul class="warnings">
      {[...warnings.values()].map(({ text, next }) => (
        <li key={text} title={next}>
          {text}
        </li>
      ))}
    </ul>
  );
}
